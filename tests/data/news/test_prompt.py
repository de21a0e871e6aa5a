from pathlib import Path

import pytest
import yaml

from diptych.contracts.news import Evidence, KeyFacts
from diptych.data.news.prompt import NO_ARTICLE, PromptTemplate, evidence_text, readable_date

CONF = Path(__file__).resolve().parents[3] / "conf" / "prompt"
EVIDENCE = Evidence(
    article_id="a1",
    title="Bridge opens\nin Nesnes",
    date="2020-09-20T06:00:00Z",
    text="The bridge opened.  It cost 145 million kronor.",
    facts=KeyFacts(people=("Ada Holm", "Bo Lund", "Cy Berg", "Di Dahl"), numbers=("145 million kronor",)),
)


def template(name="event", **changes):
    settings = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    settings.pop("_target_", None)
    if "defaults" in settings:
        settings.pop("defaults")
        base = yaml.safe_load((CONF / "event.yaml").read_text())
        base.pop("_target_")
        instructions = {**base["instructions"], **settings.pop("instructions", {})}
        settings = {**base, **settings, "instructions": instructions}
    return PromptTemplate(**{**settings, **changes})


def test_the_parts_stand_in_the_published_order():
    message = template().message("People in front of a bridge.", EVIDENCE)
    parts = [
        "news desk",
        "What the photo shows: People in front of a bridge.",
        "What the article says",
        "Title: Bridge opens in Nesnes",
        "Published: 20 September 2020",
        "People: Ada Holm, Bo Lund, Cy Berg\n",  # the first three
        "Figures: 145 million kronor",
        "Text: The bridge opened. It cost 145 million kronor.",
        "1. Trust the article",
        "70 % of the text",
        "8. Write 300 to 350 words",
        "An example for another photo.",
    ]
    places = [message.index(part) for part in parts]
    assert places == sorted(places)
    assert message.endswith("\n\nCaption:") and "Di Dahl" not in message and "Organisations" not in message


@pytest.mark.parametrize(
    ("name", "gone", "last"),
    [
        ("no_ratio", "70 %", "7. Write"),
        ("no_five_ws", "when, where and why", "7. Write"),
        ("no_example", "Whitcombe", "8. Write"),
    ],
)
def test_each_variant_leaves_one_thing_out(name, gone, last):
    full, less = template().message("x", EVIDENCE), template(name).message("x", EVIDENCE)
    assert gone in full and gone not in less and last in less


def test_what_is_not_known_leaves_no_line():
    message = template("short").message(" ", Evidence("a1", title="Only a title"))
    assert "Photo:" not in message and "Published" not in message and "Text:" not in message
    assert "Title: Only a title" in message


def test_a_photo_without_an_article_says_so():
    assert NO_ARTICLE in template("short").message("A bridge.", Evidence())
    assert NO_ARTICLE in template("short").message("A bridge.", Evidence("a1"))
    assert evidence_text(Evidence()) == ""


def test_the_length_asked_for_is_set_in_one_place():
    assert "in 25 words" in template("short", words=25).message("x", EVIDENCE)


def test_evidence_text_is_what_the_prompt_says_of_the_article():
    message, text = template("short").message("x", EVIDENCE), evidence_text(EVIDENCE)
    assert text in message and "145 million" in text and "Write the caption" not in text


def test_dates_are_written_out_when_they_are_dates():
    assert readable_date("2022-02-07T02:46:59Z") == "7 February 2022"
    assert readable_date("last week") == "last week"


def test_the_topic_stands_first_where_there_is_one():
    message = template().message("", Evidence("a1", "Rain", topic="world affairs"))
    assert "(the main source):\nTopic: World Affairs\nTitle: Rain\n" in message
    assert "Topic" not in template().message("", Evidence("a1", "Rain"))

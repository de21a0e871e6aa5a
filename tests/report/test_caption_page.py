"""The report of captions, read back: the right cards in the right order, marks on the right words, all escaped."""

from __future__ import annotations

import logging
import re
from html import unescape

import pytest
from made_captions import ARTICLE, ENTITIES, EVIDENCE, make_card, order_of
from PIL import Image

from diptych.contracts.news import Article, Chunk, Evidence
from diptych.report.caption_cards import CaptionCard, EntitySpan, choose_cards
from diptych.report.caption_page import write_caption_report


def make_record(**changes):
    record = {
        "experiment": "fuser",
        "data": ["newsroom"],
        "split": "test",
        "checkpoint": "<best>.ckpt",
        "seed": 0,
        "queries": {"scored": 3, "expected": 3},
        "references_per_item": [1, 1],
        "lines": {"cider": "N=3, references per item: 1"},
        "faults": {"empty_answer": 2},
        "metrics": {"cider": 0.12345, "mean_words": 43.21, "empty_captions": 2.0, "untuned/cider": None}
        | {"annotated_article/cider": 0.5, "untuned/empty_captions": 0.0},
    }
    return record | changes


def page_of(folder, cards, record=None, **settings):
    return write_caption_report(folder, record or make_record(), cards, **settings).read_text(encoding="utf-8")


def words_in(page, tag, css=""):
    """What stands inside the elements of a tag and class."""
    return [unescape(text) for text in re.findall(rf"<{tag}[^>]*{css}[^>]*>([^<]*)</{tag}>", page)]


def test_the_article_is_whole_and_the_chosen_chunks_are_marked(tmp_path):
    page = page_of(tmp_path, [make_card(article=ARTICLE, evidence=EVIDENCE)])
    card = page.split("<article>")[1]
    assert words_in(card, "mark") == ["First & <second>.", "It goes on.\n"[:11]]
    assert re.findall(r'<mark title="([^"]*)"', card) == ["chosen, taken whatever it says", "chosen, similarity 0.625"]
    assert re.findall(r"</summary><div>([^<]*)</div></details>", card) == ["The rest is long.", "Last."]
    assert 'Evidence: A "title" <b> (2021-07-15T02:46:59Z, article a1)' in unescape(card) and "<b>" not in card
    assert "Key facts: places: R&amp;D" in card


def test_entities_are_told_apart_by_more_than_colour(tmp_path):
    page = page_of(tmp_path, [make_card(entities=ENTITIES)])
    card = page.split("<article>")[1]
    assert words_in(card, "span", "entity supported") == ["Rome"]
    assert words_in(card, "span", "entity unsupported") == ["<Lee>"]
    assert 'title="PERSON, not in the evidence"' in card and 'title="GPE, in the evidence"' in card
    assert "Ann <span" in card and "1 of 2 names unsupported" in card
    assert "underline solid" in page and "underline wavy" in page
    assert words_in(page.split("<article>")[0], "span", "entity") == ["name", "name"]
    assert 'class="entity' not in page_of(tmp_path, [make_card()])


def test_evidence_recall_has_a_section_with_a_row_for_each_aspect(tmp_path):
    metrics = {"fact_recall": 0.5, "fact_recall/third_1": 0.75, "fact_recall/third_3": None, "cider": 0.1}
    metrics |= {"annotated_article/fact_recall": 0.625, "annotated_article/fact_recall/third_1": 1.0}
    about = {"fact_recall": {"unit": "fraction", "better": "higher"}, "cider": {"unit": "score", "better": "higher"}}
    page = page_of(tmp_path, [make_card()], make_record(metrics=metrics, about=about))
    first, section = page.split('id="metrics"')[1].split('id="evidence"')
    assert "third_1" not in first and "third 1" not in first and "fact_recall (%)" in first
    section = section.split("</section>")[0]
    cells = [re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", section)]
    assert cells == [
        ["fact_recall (%)", "model", "annotated article"],
        ["all", "50.00", "62.50"],
        ["third 1", "75.00", "100.00"],
        ["third 3", "–", ""],
    ]
    assert section.count("<rect") == 2 and "A wrong article has none" in section
    assert 'id="evidence"' not in page_of(tmp_path, [make_card()])


def test_the_table_has_a_column_per_prefix(tmp_path):
    page = page_of(tmp_path, [make_card()])
    head, *rows = re.findall(r"<tr>(.*?)</tr>", page)
    assert re.findall(r">([^<]+)<", head) == ["metric", "model", "untuned", "annotated article"]
    cells = [re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", row) for row in rows]
    assert cells == [
        ["cider", "0.1235", "–", "0.5000"],
        ["mean_words", "43.2", "", ""],
        ["empty_captions", "2.0", "0.0", ""],
    ]
    facts = dict(zip(words_in(page, "dt"), words_in(page, "dd"), strict=True))
    assert facts == {
        "cider rests on": "N=3, references per item: 1",
        "checkpoint": "<best>.ckpt",
        "seed": "0",
        "faults": "empty_answer 2",
    }


def test_what_goes_wrong_and_what_was_replaced_stand_on_the_page(tmp_path):
    plain = page_of(tmp_path, [make_card()])
    assert "What the numbers show" not in plain and "Replaced for" not in plain
    changes = {"replaced": {"generation": {"min_p": 0.2}}, "replaced_from": {"generation": {"min_p": 0.1}}}
    page = page_of(tmp_path, [make_card()], make_record(**changes, signatures=["The captions <invent>."]))
    assert "The captions <invent>." in words_in(page, "li")
    places = [page.index(words) for words in ("What the numbers show", "Table of metrics", "Replaced for this")]
    assert places == sorted(places)
    row = next(row for row in re.findall(r"<tr>(.*?)</tr>", page) if "min_p" in row)
    assert re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", row) == ["generation.min_p", "0.1", "0.2"]
    assert "replaced" not in words_in(page, "dt") and "signatures" not in words_in(page, "dt")


def test_without_answers_unsupported_names_decide(tmp_path):
    cards = [make_card(number, None, num_unsupported=number % 3) for number in range(12)]
    order = order_of(choose_cards(cards, 6))
    assert order["unsupported"] == ["q2", "q5", "q8"] and len(order["random"]) == 3
    assert order_of(choose_cards(cards, 12))["all"][:5] == ["q2", "q5", "q8", "q11", "q1"]
    assert "answers of this split are hidden" in page_of(tmp_path, cards, make_record(metrics={}, lines={}))


def test_everything_that_is_not_ours_is_escaped(tmp_path):
    evil = "</p><script>alert(1)</script>"
    odd = f"{evil}\x00"
    card = CaptionCard(
        query_id=odd,
        image_path=None,
        fused_caption=odd,
        base_caption=odd,
        reference_captions=(odd, "two"),
        article=Article("a1", "", odd, odd, odd),
        evidence=Evidence("a1", chunks=(Chunk(0, 4),)),
        entities=(EntitySpan(0, 4, '"><i>', False),),
        metrics={odd: 0.25},
        stop_reason=odd,
        prompt_tokens=12345,
    )
    page = page_of(tmp_path, [card], make_record(experiment=evil, metrics={f"{evil}x/cider": 1.5}, lines={evil: evil}))
    assert page.count("<script>") == page.count("</script>") == 1
    assert "\x00" not in page and "<i>" not in page
    assert "Reference caption 2" in page and "prompt of 12,345 tokens" in page
    assert "default-src 'none'" in page and "http" not in page.replace("http-equiv", "")


def test_photos_are_embedded_and_missing_ones_are_counted(tmp_path, caplog):
    photo = tmp_path / "photo.png"
    Image.new("RGB", (800, 600), "red").save(photo)
    cards = [make_card(0, image_path=photo), make_card(1, image_path=tmp_path / "none.jpg"), make_card(2)]
    with caplog.at_level(logging.WARNING):
        page = page_of(tmp_path / "report", cards)
    assert page.count('src="data:image/jpeg;base64,') == 1
    assert "no photo: none.jpg" in page and "no photo: q2" in page
    assert "1 photos of the report are grey tiles" in caplog.text
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["index.html"]


def test_gaps_are_said(tmp_path):
    blank = Article("a1", "", "", " ", "")
    page = page_of(tmp_path, [make_card(fused_caption=" "), make_card(1, article=blank, evidence=Evidence("a1"))])
    for words in ("(empty)", "No article: the caption rests on", "(the article has no text)", "(no title)"):
        assert words in page
    assert "No query was scored" in page_of(tmp_path, [])
    page_of(tmp_path, [make_card(fused_caption="half \ud83d a pair")])
    assert page_of(tmp_path, [make_card()]) == page_of(tmp_path, [make_card()])


def test_no_cards_at_all_is_refused(tmp_path):
    with pytest.raises(ValueError, match="max_cards must be at least 1"):
        page_of(tmp_path, [], max_cards=0)

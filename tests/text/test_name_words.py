"""What may be written where only the names of given texts are allowed, sign by sign."""

from __future__ import annotations

import pytest

from diptych.text.name_words import AllowedNames, Openers, Place

EVIDENCE = (
    "Title: Flood in Harbour Town\nPublished: 4 May 2019\nText: Anna Brown, 34, said 3,000 people of the G20 fled. "
    "Mayor José O'Brien spoke on Monday in PARIS. firefighters came, a brown bear too; twelve died, 2.5m was lost. "
    "An iPhone rang."
)
NAMES = AllowedNames([EVIDENCE, "A man on a café roof"], Openers(["rescue", "workers", "ann"]))


def refused(text: str) -> str | None:
    """The text up to and with the first sign that may not follow, or with a mark where it ends in a name; else None."""
    at = Place()
    for place, sign in enumerate(text):
        found = NAMES.step(at, sign)
        if found is None:
            return text[: place + 1]
        at = found
    return None if NAMES.is_whole(at) else f"{text}|"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Anna Brown said 3,000 people of the G20 fled, and twelve more.",
        "nothing has a name here — not a word",
        "on Monday Anna Brown came to Harbour Town",  # a date stands beside any name
        "in PARIS, or Paris, Mayor José O’Brien",
        "Anna's Brown, Anna-led, Brown",
        "4 May 2019. May 4. At 34.",
        "3,000, then 3000: then 2.5m; 2.5; 12",  # "twelve" is 12
        "The man. Firefighters came. Café! A rescue? Rescue workers",
        'he said: "Rescue came" and "The man"',
        "see an iPhone\nWorkers",
    ],
)
def test_what_the_texts_name_may_be_written(text):
    assert refused(text) is None


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("Annabel came", "Annab"),
        ("he saw Annabel", "he saw Annab"),
        ("he saw Ann", "he saw Ann|"),
        ("he saw anNa", "he saw anN"),
        ("in London", "in L"),
        ("he saw Anna Paris", "he saw Anna P"),  # both are named, not one behind the other
        ("he saw Anna O'Brien", "he saw Anna O"),
        ("a Bear", "a Be"),  # no name there
        ("A man, Rescue", "A man, R"),  # opens no sentence
        ("an iPad", "an iPa"),
        ("3 people", "3 "),
        ("3,500 people", "3,5"),
        ("34.5 people", "34.5"),
        ("345 people", "345"),
        ("5m was lost", "5"),
        ("in 2018", "in 2018"),
        ("the G8", "the G8"),
        ("he saw Jose", "he saw Jose"),
        ("he saw Anna\u00adbel", "he saw Anna\u00ad"),  # what cannot be seen parts no word
        ("Stuttgart burns", "St"),
    ],
)
def test_no_other_name_may(text, at):
    assert refused(text) == at


def test_short_openers_are_words_not_beginnings_of_names():
    assert "ann" not in NAMES.openers and "the" in NAMES.openers
    assert refused("Ann came") == "Ann "
    assert list(Openers(["there", "theft", "then"]).beginning_with("the")) == ["the", "theft", "then", "there"]


def test_what_is_left_of_a_name():
    at = NAMES.walk(Place(), "he saw An")
    assert at is not None and sorted(NAMES.rests(at)) == ["", "na"]  # "An" stands there, as a word
    at = NAMES.walk(Place(), "he saw Anna B")
    assert at is not None and list(NAMES.rests(at)) == ["rown"]
    assert list(NAMES.rests(Place(word=None))) == []

"""The parts of the page: what comes from files and people is text in them, and buttons say what they stand for."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from diptych.app import parts
from diptych.app.photo_caption import CaptionedPhoto
from diptych.app.picture_search import Found
from diptych.app.session import Round, Session
from diptych.contracts.news import Article, Chunk, Evidence
from diptych.contracts.retrieval import GalleryImage
from diptych.contracts.search import SearchResult
from diptych.report.caption_cards import CaptionCard, EntitySpan
from page_parts import HOSTILE, Parts


@pytest.fixture
def picture(tmp_path):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    return tmp_path / "red.png"


def all_parts(text, picture):
    """Every part, with `text` wherever somebody else may write."""
    result = SearchResult(text, picture, 0.5)
    places = {"picture": {text: 1}, "text": {text: 2345}}
    found = Found(text, "picture and text", (result,), {"picture": (result,)}, places, (text,))
    article = Article("article", "", text, f"{text} Then {text}", text)
    card = CaptionCard(
        "q",
        picture,
        text,
        base_caption=text,
        article=article,
        evidence=Evidence("article", text, text, chunks=(Chunk(0, len(text), 0.5),)),
        entities=(EntitySpan(0, len(text), "name", False),),
    )
    return [
        parts.message(text),
        parts.message(text, is_error=True),
        parts.asked(Session(picture, text)),
        parts.photo(picture, text),
        parts.gallery([GalleryImage(text, picture)], 1, 2),
        parts.history([Round(picture, text, text), Round(None, "", text)]),
        parts.results([found, found]),
        parts.caption(CaptionedPhoto(card, (text,))),
    ]


@pytest.mark.hostile("hostile texts")
@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_others_are_shown_and_do_nothing(text, picture):
    for hostile, plain in zip(all_parts(text, picture), all_parts("plain", picture), strict=True):
        shown = Parts(hostile)
        assert shown.tags == Parts(plain).tags and shown.scripts == []
        assert text in " ".join(shown.texts)


def test_results_say_place_score_and_the_places_by_each_half(picture):
    html = all_parts("bed.jpg", picture)[6]
    assert html.count('data-image="bed.jpg"') == 4  # two models, each with a result and one of a half
    assert "<b>1</b> 0.500" in html and "picture 1, text 2,345" in html
    assert html.count("<h2>bed.jpg</h2>") == 2
    assert html.count("data:image/jpeg;base64,") == 4


def test_of_one_model_the_name_is_not_shown_and_one_half_is_called_alone(picture):
    found = Found("rooms", "text", (SearchResult("a", picture, 0.25),), {}, {}, ())
    html = parts.results([found])
    assert "<h2>" not in html and "By the text alone" in html and 'class="places"' not in html


def test_pictures_that_cannot_be_read_are_grey_tiles_with_their_names():
    html = parts.gallery([GalleryImage("gone.png", Path("nowhere/gone.png"))], 1, 1)
    assert '<span class="missing">gone.png</span>' in html and "<img" not in html


def test_rounds_lead_back(picture):
    html = parts.history([Round(picture, "red", "make it blue"), Round(picture, "red", "")])
    assert 'data-round="1"' in html and 'data-round="2"' in html
    assert "make it blue" in html and "the picture alone" in html
    assert parts.history([]) == "" == parts.message("")


def test_names_of_a_caption_are_marked(picture):
    card = CaptionCard(
        "q",
        picture,
        "Ann met Bo",
        entities=(EntitySpan(0, 3, "name", True), EntitySpan(8, 10, "name", False)),
    )
    html = parts.caption(CaptionedPhoto(card, ()))
    assert 'supported" title="name, in the evidence">Ann</span> met' in html
    assert 'unsupported" title="name, not in the evidence">Bo</span>' in html
    assert "Written from" not in html

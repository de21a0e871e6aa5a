"""The tab of captions shows what the captioner writes, with its names as the evaluation checks them."""

from __future__ import annotations

import pytest

import diptych
from diptych.app.photo_caption import caption_photo
from diptych.contracts.news import CheckedClaim
from diptych.synthetic.newsroom.source import Newsroom
from tiny_sets import TINY_NEWS

TEXT = "The mayor opened the bridge on Monday. It cost 12 million. Ferries no longer run."


class Untouched:
    """A captioner that must not be asked."""

    def __getattr__(self, name):
        raise AssertionError(name)


@pytest.fixture
def given(tmp_path):
    photo, article = tmp_path / "a.png", tmp_path / "a.txt"
    article.write_bytes(b"caf\xe9")
    return photo, article


@pytest.mark.parametrize(
    ("said", "changes"),
    [
        ("Drop a photo first", {"photo": None}),
        ("two articles, a text and a file", {"text": "one", "file": True}),
        ("A title and a date are of an article", {"title": "Bridge opens"}),
        ("^a.txt: not a UTF-8 text file", {"file": True}),
    ],
)
def test_mistakes_are_sentences(said, changes, given):
    photo, article = given
    settings = {"photo": photo, "text": "", "file": None, "title": "", "date": "", "base_caption": "", **changes}
    settings["file"] = article if settings["file"] else None
    with pytest.raises(ValueError, match=said):
        caption_photo(Untouched(), **settings)


@pytest.mark.slow
def test_the_caption_is_the_captioner_s(newsroom_run, work, tmp_path, monkeypatch):
    newsroom = Newsroom(work / "data/newsroom", TINY_NEWS)
    photo = newsroom.image_path("test", newsroom.queries("test")[0].query_id)
    captioner = diptych.load_captioner(newsroom_run, "cpu")
    article = {"title": "Bridge opens", "text": TEXT}
    written = captioner.caption(photo, article, "A ribbon.")

    class Checker:
        name = "of this test"

        def checked_claims(self, caption, evidence):
            return [CheckedClaim(caption[:2], 0, 2, False, "12 million" in evidence)]

    monkeypatch.setattr(captioner._generator, "claim_checker", Checker())
    shown = caption_photo(captioner, photo, TEXT, None, " Bridge opens ", "", " A ribbon. ")
    assert shown.card.fused_caption == written.text and shown.card.evidence == written.evidence
    (name,) = shown.card.entities
    assert (name.start, name.end, name.supported) == (0, 2, True)
    assert "".join(passage.text for passage in shown.card.passages if passage.chosen) == TEXT
    (tmp_path / "bridge.txt").write_text(TEXT)
    assert caption_photo(captioner, photo, "", tmp_path / "bridge.txt", "Bridge opens", "", "A ribbon.") == shown
    monkeypatch.setattr(captioner._generator, "claim_checker", None)
    alone = caption_photo(captioner, photo, "", None, "", "", "")
    assert alone.card.article is None and alone.card.entities == ()
    assert "Names were not looked up" in alone.notes[0] and "There was no article." in alone.notes

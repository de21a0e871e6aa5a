"""`diptych caption` prints what a captioner writes, what that was written from, and what is not stated there."""

from __future__ import annotations

import json

import pytest

import diptych
from diptych.commands.main import main
from diptych.contracts.news import CheckedClaim
from diptych.data.news.article_file import read_article
from diptych.synthetic.newsroom.source import Newsroom
from tiny_sets import TINY_NEWS

pytestmark = pytest.mark.slow

TEXT = "The mayor opened the bridge on Monday. It cost 12 million. Ferries no longer run."


@pytest.fixture(scope="module")
def photo(work):
    newsroom = Newsroom(work / "data/newsroom", TINY_NEWS)
    return newsroom.image_path("test", newsroom.queries("test")[0].query_id)


def test_it_prints_the_captioner_s_caption(newsroom_run, photo, tmp_path, capsys):
    (tmp_path / "bridge.txt").write_text(TEXT)
    words = [f"ckpt={newsroom_run}", f"photo={photo}", f"article={tmp_path / 'bridge.txt'}", "title=Bridge opens"]
    assert main(["caption", *words, "device=cpu", f"out={tmp_path / 'all.json'}"]) == 0
    said = capsys.readouterr().out
    written = diptych.load_captioner(newsroom_run, "cpu").caption(photo, {"title": "Bridge opens", "text": TEXT}, "")
    record = json.loads((tmp_path / "all.json").read_text())
    assert record["caption"] == written.text and record["chunks"] == list(written.chunks)
    assert "title: Bridge opens" in said and "The mayor opened the bridge" in said
    assert "nothing says what the photo shows: a base caption would" in said
    assert ("names were not looked up" in said) == (record["unsupported"] is None)


def test_what_the_evidence_does_not_state(newsroom_run, photo, monkeypatch):
    captioner = diptych.load_captioner(newsroom_run, "cpu")
    caption = captioner.caption(photo, TEXT, "")

    class Checker:
        name = "of this test"

        def unsupported(self, captions, evidence):
            raise AssertionError

        def checked_claims(self, caption, evidence):
            return [
                CheckedClaim(text, 0, 1, False, stated)
                for text, stated in ((caption, False), (evidence, False), ("Ann", True))
            ]

    monkeypatch.setattr(captioner._generator, "claim_checker", Checker())
    text, evidence = captioner.unsupported(caption)
    assert text == caption.text and "It cost 12 million." in evidence
    monkeypatch.setattr(captioner._generator, "claim_checker", None)
    with pytest.raises(ValueError, match="names no recogniser of names"):
        captioner.unsupported(caption)


def test_articles_of_either_form(tmp_path):
    (tmp_path / "a.json").write_text('{"text": "t", "title": "h"}')
    assert read_article(tmp_path / "a.json", "", "") == {"text": "t", "title": "h"}
    with pytest.raises(ValueError, match=r"a\.json has its own title and date"):
        read_article(tmp_path / "a.json", "x", "")
    (tmp_path / "b.json").write_text('{"title": "h"}')
    with pytest.raises(ValueError, match=r"b\.json: .*text"):
        read_article(tmp_path / "b.json", "", "")
    (tmp_path / "c.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match=r"c\.txt: not a UTF-8 text file"):
        read_article(tmp_path / "c.txt", "", "")


def test_mistakes_are_answered_before_anything_is_loaded(photo, capsys):
    for words, message in (
        (["photo=absent.jpg"], "photo=absent.jpg: there is no such file"),
        ([f"photo={photo}", "article=absent.txt"], "article=absent.txt: there is no such file"),
    ):
        assert main(["caption", "ckpt=absent.ckpt", *words]) == 2
        assert message in capsys.readouterr().err

"""A captioner writes what an evaluation of its checkpoint writes, and says what it was made of."""

from __future__ import annotations

import json

import pytest
import torch

import diptych
from diptych.api.captioner import Captioner
from diptych.contracts.news import Article
from diptych.data.news.base_captions import read_base_captions
from diptych.data.news.prompt import evidence_text
from diptych.models.captioners.caption import Caption
from diptych.parallel import checkpoints
from diptych.photos.photo_file import read_photo
from diptych.synthetic.newsroom.source import Newsroom
from tiny_runs import run_evaluate
from tiny_sets import TINY_NEWS

pytestmark = pytest.mark.slow

EXACT = {"device": "cpu", "precision": "32-true"}
ARTICLE = {
    "title": "Bridge opens in Vastermark",
    "text": "The mayor opened the bridge on Monday. It cost 12 million. Ferries no longer run.",
    "date": "2022-02-27T10:00:00Z",
}


@pytest.fixture(scope="module")
def captioner(newsroom_run) -> Captioner:
    return diptych.load_captioner(newsroom_run, **EXACT)


@pytest.fixture(scope="module")
def newsroom(work) -> Newsroom:
    return Newsroom(work / "data/newsroom", TINY_NEWS)


@pytest.fixture(scope="module")
def photo(newsroom):
    return newsroom.image_path("test", newsroom.queries("test")[0].query_id)


def test_captions_and_evidence_are_those_of_an_evaluation(newsroom_run, newsroom, captioner, tmp_path):
    words = [f"ckpt={newsroom_run}", f"data_dir={newsroom.root.parent}", "trainer=cpu", "trainer.precision=32-true"]
    run_evaluate(tmp_path, *words)
    records = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    described, articles = read_base_captions(newsroom.root / "base_captions.csv"), newsroom.articles()
    for record in records:
        name = record["query_id"]
        caption = captioner.caption(newsroom.image_path("test", name), articles[record["article_id"]], described[name])
        assert caption.text == record["caption"] == str(caption)
        assert caption.stop_reason == record["stop_reason"]
        assert (caption.prompt_tokens, caption.completion_tokens) == (
            record["prompt_tokens"],
            record["completion_tokens"],
        )
        assert evidence_text(caption.evidence) == record["evidence"]
        assert [[chunk.start, chunk.end] for chunk in caption.evidence.chunks] == [
            [start, end] for start, end, _ in record["chunks"]
        ]
        text = articles[record["article_id"]].text
        assert caption.chunks == tuple(" ".join(text[start:end].split()) for start, end, _ in record["chunks"])
        assert caption.gaps == ()
    assert len({record["caption"] for record in records}) > 1  # the prompt decides


def test_an_article_is_a_text_its_parts_or_an_article(captioner, photo):
    whole = Article("article", "", ARTICLE["title"], ARTICLE["text"], ARTICLE["date"])
    of_parts = captioner.caption(photo, ARTICLE, "A ribbon across a road.")
    assert of_parts == captioner.caption(photo, whole, "A ribbon across a road.")
    assert of_parts.article_title == ARTICLE["title"] and of_parts.base_caption == "A ribbon across a road."
    assert of_parts.chunks == (ARTICLE["text"],) and of_parts.facts == of_parts.evidence.facts
    of_text = captioner.caption(photo, ARTICLE["text"], "A ribbon across a road.")
    assert of_text.chunks == of_parts.chunks and of_text.article_title == ""
    assert of_text.prompt_tokens < of_parts.prompt_tokens


def test_what_is_missing_is_named(captioner, photo):
    assert captioner.caption(photo, None).gaps == ("no_article", "no_base_caption")
    assert captioner.caption(photo, " ", "A road.").gaps == ("empty_article",)
    assert captioner.caption(photo, None).chunks == ()


def test_a_describer_is_asked_where_no_base_caption_is_given(newsroom_run, photo):
    class Describer:
        loaded, asked = False, 0

        def load(self):
            self.loaded = True

        def read(self, path):
            return read_photo(path)

        def describe(self, photos):
            assert self.loaded
            self.asked += 1
            return [Caption(f"{len(photos)} photo of {photos[0].mode}", "stop")]

    describer = Describer()
    captioner = diptych.load_captioner(newsroom_run, **EXACT, describer=describer)
    described = captioner.caption(photo, ARTICLE)
    assert described.base_caption == "1 photo of RGB" and described.gaps == () and describer.asked == 1
    assert described == captioner.caption(photo, ARTICLE, "1 photo of RGB") and describer.asked == 1


def test_mistakes_are_named(captioner, photo, rooms_run, tmp_path):
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8 no picture")
    for message, given in (
        (r"absent\.jpg", (tmp_path / "absent.jpg", ARTICLE)),
        (r"torn\.jpg is not a readable image", (tmp_path / "torn.jpg", ARTICLE)),
        (r"an article has a text.*found \['headline', 'text'\]", (photo, {"text": "a", "headline": "b"})),
        ("an article has a text", (photo, {"title": "b"})),
    ):
        with pytest.raises(ValueError, match=message):
            captioner.caption(*given)
    with pytest.raises(ValueError, match="composes images, it writes no captions; load_retriever opens it"):
        diptych.load_captioner(rooms_run)
    with pytest.raises(ValueError, match="there is no such checkpoint file"):
        diptych.load_captioner(tmp_path)
    assert "fuser_newsroom" in repr(captioner)


def test_a_strangers_checkpoint_runs_no_code(newsroom_run, tmp_path):
    checkpoint = torch.load(newsroom_run / "checkpoints/best.ckpt", weights_only=True)
    text = checkpoints.config_text(checkpoint)
    changed = text.replace("diptych.models.fuser.chat_tokenizer.ChatTokenizer", "os.system")
    assert changed != text
    checkpoint["diptych"]["config"] = changed
    torch.save(checkpoint, tmp_path / "evil.ckpt")
    with pytest.raises(ValueError, match=r"tokenizer\._target_: os\.system is not allowed in a checkpoint's config"):
        diptych.load_captioner(tmp_path / "evil.ckpt")

"""Captions that no model writes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from diptych.contracts.news import Article, NewsQuery
from diptych.contracts.pipelines import Failure
from diptych.data.news.captions_file import read_captions
from diptych.stages.news.baseline_captions import BaselineCaptions
from diptych.storage.json_files import write_json

TEXTS = {"a": "One bus.\nTwo buses. Three buses. Four buses.", "b": "A storm came."}
QUERIES = [NewsQuery("p", ("first", "last"), "a"), NewsQuery("q", ("only",), "b"), NewsQuery("r")]


@pytest.fixture
def source():
    articles = {name: Article(name, "", "", text, "") for name, text in TEXTS.items()}
    return SimpleNamespace(name="news", queries=lambda split: QUERIES, articles=lambda: articles)


def captions_of(stage, folder):
    results = list(stage.process(stage.ids()))
    sink = stage.open_sink(folder, None)
    sink.append([result for result in results if not isinstance(result, Failure)])
    sink.finish(stage.ids())
    failures = [result for result in results if isinstance(result, Failure)]
    stage.write_output(folder, failures)
    return read_captions(stage.output), [(one.record_id, one.reason) for one in failures]


def test_leads_of_annotated_and_of_retrieved_articles_and_last_references(source, tmp_path):
    stage = BaselineCaptions(source, "val", "article_lead", output=tmp_path / "captions.csv")
    leads = {"p": "One bus. Two buses. Three buses.", "q": "A storm came."}
    assert captions_of(stage, tmp_path / "lead") == (leads, [("r", "no_caption")])
    ranked = [
        {"query_id": name, "results": [{"image_id": f"i{one}", "article_id": one, "score": 1.0} for one in found]}
        for name, found in (("p", ["b", "a"]), ("q", []), ("r", ["b"]))
    ]
    write_json(tmp_path / "retrieval.json", ranked)
    stage = BaselineCaptions(source, "val", "article_lead", tmp_path / "retrieval.json", tmp_path / "captions.csv")
    assert list(stage.input_files()) == [tmp_path / "retrieval.json"]
    found = captions_of(stage, tmp_path / "found")
    assert found == ({"p": "A storm came.", "r": "A storm came."}, [("q", "no_caption")])
    stage = BaselineCaptions(source, "val", "last_reference", output=tmp_path / "captions.csv")
    assert captions_of(stage, tmp_path / "last") == ({"p": "last"}, [("q", "no_caption"), ("r", "no_caption")])


def test_settings_that_make_no_sense(source, tmp_path):
    with pytest.raises(ValueError, match="baseline='lead' is not one of article_lead, last_reference"):
        BaselineCaptions(source, "val", "lead")
    with pytest.raises(ValueError, match="last_reference asks for no article"):
        BaselineCaptions(source, "val", "last_reference", tmp_path / "retrieval.json")

"""Which articles were found, as an evaluation leaves it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from diptych.commands.articles_measuring import MeasureArticles
from diptych.storage.json_files import read_json, read_json_lines, write_json


def test_recall_of_each_photo_and_how_often_nothing_was_verified(tmp_path):
    queries = [SimpleNamespace(query_id=name, article_id=article) for name, article in (("q1", "a"), ("q2", "b"))]
    articles = {"a": None, "b": None}
    source = SimpleNamespace(name="news", queries=lambda split: queries, articles=lambda: articles)
    ranked = {"q1": ["a", "b"], "q2": ["a", "b"]}
    candidates = [
        {"query_id": name, "results": [{"image_id": f"i{one}", "article_id": one, "score": 1.0} for one in found]}
        for name, found in ranked.items()
    ]
    write_json(tmp_path / "retrieval.json", candidates)
    write_json(tmp_path / "verification.json", {"queries": 2, "fell_back": 1})
    files = tmp_path / "retrieval.json", "measured", tmp_path / "out", tmp_path / "verification.json"
    stage = MeasureArticles(source, "val", *files)
    assert [one["query_id"] for one in stage.process(stage.ids())] == ["q1", "q2"]
    stage.write_output(tmp_path, [])
    metrics = read_json(tmp_path / "out/metrics.json")["metrics"]
    assert metrics == {"recall_at_1": 0.5, "recall_at_10": 1.0, "average_precision": 0.75, "fell_back": 0.5}
    scores = read_json_lines(tmp_path / "out/scores.jsonl", "query_id")
    assert [one["average_precision"] for one in scores.values()] == [1.0, 0.5]
    queries[:] = [SimpleNamespace(query_id="q1", article_id=None)]
    with pytest.raises(ValueError, match="news val does not say which articles are right"):
        stage.ids()

"""Evidence is measured without a language model: what lies in the folder, and what the numbers are."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from diptych.commands.evidence_measuring import MeasureEvidence
from diptych.contracts.news import Article, ArticleFact, Chunk, Evidence
from diptych.data.news.fusion_cache import PreparedQuery
from diptych.storage.json_files import read_json, read_json_lines

TEXT = "Ada came. The bridge fell. It rained."
SENTENCES = {"who": (0, 9), "what": (10, 26), "why": (27, 37)}


def query(query_id, prompt_tokens, *chunks):
    text = " ".join(TEXT[start:end] for start, end in chunks)
    evidence = Evidence("a", text=text, chunks=tuple(Chunk(start, end, 0.5) for start, end in chunks))
    return PreparedQuery(query_id, "", evidence, ("Ada.",), (1,) * prompt_tokens, ((2,),))


QUERIES = [query("q1", 3, (0, 26)), query("q2", 5, (27, 37)), query("q3", 4)]


def facts(*names):
    return [ArticleFact(name, "a", *SENTENCES[name], 0.0, TEXT[slice(*SENTENCES[name])]) for name in names]


@pytest.fixture
def stage(tmp_path):
    source = SimpleNamespace(
        prepare=lambda: None,
        answers_hidden=lambda split: split == "test",
        queries=lambda split: [SimpleNamespace(query_id=one.query_id) for one in QUERIES],
        articles=lambda: {"a": Article("a", "", "", TEXT, "")},
        facts=lambda split: {"q1": facts("who", "what", "why"), "q2": facts("why")},
    )
    prepared = SimpleNamespace(queries=lambda: iter(QUERIES))
    data = SimpleNamespace(name="news", source=source, split_data=lambda split: prepared)
    return lambda split="val": MeasureEvidence(data, split, {}, "evidence", tmp_path)


def test_the_share_of_all_facts_and_its_mean_over_photos(stage, tmp_path):
    records = list(stage().process(stage().ids()))
    assert records[0] == {"query_id": "q1", "article_id": "a", "chunks": [[0, 26, 0.5]]}
    stage().write_output(tmp_path / "stage", [])
    metrics = read_json(tmp_path / "metrics.json")["metrics"]
    assert metrics["fact_recall"] == 3 / 4
    assert metrics["mean_fact_recall"] == pytest.approx((2 / 3 + 1) / 2) and metrics["prompt_tokens"] == 4
    scores = read_json_lines(tmp_path / "scores.jsonl", "query_id")
    assert [one["mean_fact_recall"] for one in scores.values()] == [pytest.approx(2 / 3, abs=1e-6), 1, None]
    assert [one["prompt_tokens"] for one in scores.values()] == [3, 5, 4]


def test_references_must_be_known(stage):
    with pytest.raises(ValueError, match="news test has no reference captions"):
        stage("test").ids()

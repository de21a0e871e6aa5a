"""metrics.json, predictions.jsonl and scores.jsonl of one evaluation set and of several."""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from diptych import results
from diptych.contracts.retrieval import EvaluationProtocol, MetricValues, Query, RankedQuery
from diptych.metrics.retrieval.measuring import SetResult, measure
from diptych.metrics.retrieval.median_rank import MedianRank
from diptych.metrics.retrieval.recall_at_k import RecallAtK
from diptych.results.results import gallery_fingerprint, retrieval_record
from diptych.sweeping.comparison import compare_runs
from own_metric import MeanRank

ABOUT = {"experiment": "e", "data": ["one"], "split": "val", "checkpoint": "c", "seed": 0, "world_size": 1}


@pytest.fixture
def make_result():
    def make(name="one", recall=0.5, partial=None):
        protocol = EvaluationProtocol("tiny", 2, "g", True, "{text}", "none", recall_ks=(1,), partial=partial)
        queries = [Query("q0", "a", "t", "b", ("b",)), Query("q1", "a", "t", "a", ("a",))]
        ranked = [
            RankedQuery("q0", ("b", "a"), (0.12345678, 0.1), 1, (1,), 1),
            RankedQuery("q1", ("b", "a"), (0.9, 0.8), 2, (2,), 1, subset_ids=("a",)),
        ]
        metrics, bounds = {"recall_at_1": recall}, {"recall_at_1": (0.0, 1.0)}
        return SetResult(name, protocol, queries, ("a", "b"), ranked, metrics, bounds)

    return make


def test_one_set_is_recorded_under_plain_names(make_result):
    record = retrieval_record([make_result()], **ABOUT).content()
    assert record["queries"] == {"scored": 2, "expected": 2}
    assert record["gallery"] == {"size": 2, "sha256": hashlib.sha256(b"a\nb\n").hexdigest()}
    assert record["metrics"] == {"recall_at_1": 0.5} and record["intervals"] == {"recall_at_1": [0.0, 1.0]}
    assert record["protocol"]["line"] == "tiny v2" and record["protocol"]["exclude_reference"] is True
    assert {"diptych", "torch", "lightning"} <= record["versions"].keys()
    json.dumps(record)


def test_several_sets_keep_their_names_and_their_mean(make_result):
    record = retrieval_record([make_result(), make_result("two", 0.7, partial="1/2")], **ABOUT).content()
    assert record["metrics"] == {
        "recall_at_1": pytest.approx(0.6),
        "one/recall_at_1": 0.5,
        "two/recall_at_1": 0.7,
    }
    assert record["intervals"].keys() == {"one/recall_at_1", "two/recall_at_1"}
    assert record["queries"]["expected"] == 4 and record["gallery"]["size"] == 4
    assert record["protocol"]["line"] == "tiny v2; tiny v2 @partial(1/2)"


def test_metrics_without_a_number_are_named_with_the_reason(make_result):
    results = [make_result(), make_result("two")]
    for result in results:
        result.absent = {"spread": "there are no groups", "all": "there are no groups"}
    said = "Without a number: one/spread, one/all, two/spread, two/all, as there are no groups."
    assert said in retrieval_record(results, **ABOUT).content()["signatures"]
    said = "Without a number: spread, all, as there are no groups."
    assert said in retrieval_record(results[:1], **ABOUT).content()["signatures"]


def test_a_prediction_file_has_no_gallery(make_result):
    result = make_result()
    result.gallery_ids = ()
    assert retrieval_record([result], **ABOUT).content()["gallery"] == {"size": None, "sha256": None}


def test_fingerprints_tell_order_and_boundaries_apart():
    galleries = (["a", "b"], ["b", "a"], ["ab"], ["a", "b", ""])
    assert len({gallery_fingerprint(ids) for ids in galleries}) == 4


def test_predictions_are_a_line_per_query(make_result, tmp_path):
    made = [make_result()]
    retrieval_record(made, **ABOUT).write(tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run/predictions.jsonl").read_text().splitlines()]
    assert lines[0] == {"query_id": "q0", "ranked_ids": ["b", "a"], "scores": [0.123457, 0.1], "target_rank": 1}
    assert lines[1]["subset_ids"] == ["a"]
    both = [make_result(), make_result("two")]
    retrieval_record(both, **ABOUT).write(tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run/predictions.jsonl").read_text().splitlines()]
    assert [line["set"] for line in lines] == ["one", "one", "two", "two"]


def test_scores_have_every_value_that_applies_to_a_query(make_result, tmp_path):
    result = make_result()
    result.protocol = replace(result.protocol, average_of=("recall_at_1", "recall_at_2"))
    result.values = {
        "recall_at_1": MetricValues(torch.tensor([1.0, 0.0])),
        "recall_at_2": MetricValues(torch.tensor([1.0, 1.0])),
        "recall_at_1/changes_1": MetricValues(torch.tensor([math.nan, 0.0])),
        "median_rank": MetricValues(torch.tensor([1.0, math.inf]), "median"),
    }
    retrieval_record([result], **ABOUT).write(tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run/scores.jsonl").read_text().splitlines()]
    common = {"recall_at_2": 1.0}
    assert lines == [
        {"query_id": "q0", "recall_at_1": 1.0, **common, "median_rank": 1.0, "average": 1.0},
        {
            "query_id": "q1",
            "recall_at_1": 0.0,
            **common,
            "recall_at_1/changes_1": 0.0,
            "median_rank": None,
            "average": 0.5,
        },
    ]
    other = make_result("two")
    other.values = {"recall_at_1": MetricValues(torch.tensor([1.0, 0.0]))}
    retrieval_record([result, other], **ABOUT).write(tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run/scores.jsonl").read_text().splitlines()]
    assert [(line["set"], line["query_id"]) for line in lines] == [
        ("one", "q0"),
        ("one", "q1"),
        ("two", "q0"),
        ("two", "q1"),
    ]


def test_hidden_answers_leave_no_scores(make_result, tmp_path):
    made = [make_result()]
    retrieval_record(made, **ABOUT).write(tmp_path / "run")
    assert not (tmp_path / "run/scores.jsonl").exists()


def test_the_scores_of_a_measured_set_are_what_its_metrics_are_made_of(make_result, tmp_path):
    """From `measure` to the comparison: the means of the written values are the numbers of metrics.json."""
    plain = make_result()
    protocol = replace(
        plain.protocol, recall_ks=(1, 2), aspect_metrics=("recall_at_1",), average_of=("recall_at_1", "recall_at_2")
    )
    ranked = [
        replace(query, aspects=aspects) for query, aspects in zip(plain.ranked, (("x",), ("x", "y")), strict=True)
    ]
    metrics = {"recall": RecallAtK(), "median": MedianRank()}
    result = measure("one", protocol, plain.queries, ranked, metrics, with_bounds=True)
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        retrieval_record([result], **ABOUT).write(folder)
    differences, left_out, _ = compare_runs(*folders)
    assert left_out == {} and {row.metric for row in differences} == set(result.metrics) >= {"average", "recall_at_1/y"}
    assert all(row.first == result.metrics[row.metric] and row.p_value == 1.0 for row in differences)


def test_metrics_say_what_they_mean(make_result, tmp_path):
    plain = make_result()
    protocol = replace(plain.protocol, aspect_metrics=("mean_rank",))
    ranked = [replace(query, aspects=("x",)) for query in plain.ranked]
    metrics = {"own": MeanRank(), "recall": RecallAtK(), "median": MedianRank()}
    sets = [measure(name, protocol, plain.queries, ranked, metrics, with_bounds=True) for name in ("one", "two")]
    retrieval_record(sets[:1], **ABOUT).write(tmp_path)
    stored = json.loads((tmp_path / "metrics.json").read_text())
    assert stored["about"] == {
        "mean_rank": {"unit": "count", "better": "lower"},
        "recall_at_1": {"unit": "fraction", "better": "higher"},
        "median_rank": {"unit": "count", "better": "lower", "reduction": "median"},
        "median_rank_zero_based": {"unit": "count", "better": "lower", "reduction": "median"},
    }
    assert list(stored)[-1] == "about" and stored["metrics"]["mean_rank"] == 1.5
    both = retrieval_record(sets, **ABOUT)
    assert both.content()["about"] == stored["about"]
    assert stored["aspect_queries"] == {"x": 2} and both.content()["aspect_queries"] == {"one/x": 2, "two/x": 2}
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(both.table())
    rows = {line.split()[1]: line for line in console.export_text().splitlines() if "mean_rank" in line}
    assert rows.keys() == {f"{name}{key}" for name in ("", "one/", "two/") for key in ("mean_rank", "mean_rank/x")}
    assert all(" 1.5 " in line and "%" not in line and "150" not in line for line in rows.values())


def test_results_know_neither_reports_nor_systems():
    """Who calls them writes the reports."""
    for path in Path(results.__path__[0]).glob("*.py"):
        assert not re.search(r"diptych\.(report|systems|commands|stages)\b", path.read_text()), path

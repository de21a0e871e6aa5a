"""Sums of results: examples worked out by hand, and CIRCO's official example predictions."""

import json
from dataclasses import replace

import pytest
import torch

import golden_files
from diptych.contracts.retrieval import EvaluationProtocol, MetricValues, Query, RankedQuery
from diptych.metrics.retrieval.aggregate import reduce_values, summarise, with_aspects
from diptych.metrics.retrieval.map_at_k import MeanAveragePrecisionAtK
from diptych.metrics.retrieval.median_rank import MedianRank
from diptych.metrics.retrieval.recall_at_k import RecallAtK
from diptych.metrics.retrieval.recall_subset_at_k import RecallSubsetAtK
from diptych.ranking.ranked_queries import rank_ids

METRICS = (RecallAtK, RecallSubsetAtK, MeanAveragePrecisionAtK, MedianRank)
PLAIN = EvaluationProtocol("plain", 1, "all", False, "{}", "none", recall_ks=(1, 5))
CIRR = replace(PLAIN, exclude_reference=True, subset_ks=(1, 2), average_of=("recall_at_5", "recall_subset_at_1"))


def score(ranked: list[RankedQuery], protocol: EvaluationProtocol) -> dict[str, float]:
    values: dict[str, MetricValues] = {}
    for metric_class in METRICS:
        metric = metric_class()
        metric.update(ranked, protocol)
        values |= metric.compute()
    return summarise(with_aspects(values, [query.aspects for query in ranked], protocol), protocol)


def test_worked_example_under_both_rules():
    group = tuple("abcdef")
    queries = [Query("1", "a", "", "c", ("c",), group), Query("2", "b", "", "a", ("a",), group)]
    orders = {"1": list("agbchdef"), "2": list("bacdefgh")}
    cirr = score(rank_ids(orders, queries, CIRR), CIRR)
    assert (cirr["recall_at_1"], cirr["recall_at_5"]) == (0.5, 1.0)
    assert (cirr["recall_subset_at_1"], cirr["recall_subset_at_2"], cirr["average"]) == (0.5, 1.0, 0.75)
    hotel = score(rank_ids(orders, queries, PLAIN), PLAIN)
    assert (hotel["recall_at_1"], hotel["recall_at_5"], hotel["median_rank_zero_based"]) == (0.0, 1.0, 2.0)
    assert "average" not in hotel
    assert not any("subset" in name for name in hotel)


def test_circo_example_predictions_score_as_the_official_script_prints():
    circo = golden_files.beside_the_checkout("real/circo")
    records = json.loads((circo / "annotations/val.json").read_text())
    queries = [
        Query(
            query_id=str(record["id"]),
            reference_image=str(record["reference_img_id"]),
            text=record["relative_caption"],
            target_image=str(record["target_img_id"]),
            relevant_ids=tuple(map(str, record["gt_img_ids"])),
            aspects=tuple(record["semantic_aspects"]),
        )
        for record in records
    ]
    ks = (5, 10, 25, 50)
    protocol = replace(PLAIN, recall_ks=ks, map_ks=ks, aspect_metrics=("map_at_10",))
    predictions = json.loads((circo / "example_predictions_val.json").read_text())
    found = score(rank_ids(predictions, queries, protocol), protocol)
    expected = {
        "map_at_5": 0.4861,
        "map_at_10": 0.5178,
        "map_at_25": 0.5400,
        "map_at_50": 0.6020,
        "recall_at_5": 0.9091,
        "recall_at_10": 0.9091,
        "recall_at_25": 1.3636,
        "recall_at_50": 3.6364,
        "map_at_10/cardinality": 0,
        "map_at_10/statement_with_conjunction": 0.6183,
        "map_at_10/comparative_statement": 1.0500,
        "map_at_10/spatial_relations_background": 0.1808,
        "map_at_10/compare_change": 0.0242,
        "map_at_10/addition": 0.0871,
        "map_at_10/direct_addressing": 0.9197,
        "map_at_10/viewpoint": 0.6173,
        "map_at_10/negation": 0,
    }
    assert {name: f"{100 * found[name]:.4f}" for name in expected} == {n: f"{v:.4f}" for n, v in expected.items()}
    assert set(found) == {*expected, "median_rank", "median_rank_zero_based"}


def test_aspects_count_only_their_queries():
    protocol = replace(PLAIN, aspect_metrics=("recall_at_1",))
    values = {"recall_at_1": MetricValues(torch.tensor([1.0, 0.0, 1.0, torch.nan]))}
    aspects = [("changes_1",), ("changes_2",), ("changes_2", "addition"), ("hidden",)]
    assert summarise(with_aspects(values, aspects, protocol), protocol) == {
        "recall_at_1": 2 / 3,
        "recall_at_1/changes_1": 1.0,
        "recall_at_1/changes_2": 0.5,
        "recall_at_1/addition": 1.0,
    }


def test_hidden_answers_leave_no_numbers():
    ranked = [RankedQuery("q", ("a",), (1.0,), None, (), 0)]
    assert score(ranked, CIRR) == {}


def test_what_the_protocol_names_must_be_there():
    values = {"recall_at_1": MetricValues(torch.ones(2))}
    with pytest.raises(ValueError, match="plain v1 needs the metric recall_at_5, computed were: recall_at_1"):
        with_aspects(values, [(), ()], replace(PLAIN, average_of=("recall_at_5",)))
    with pytest.raises(ValueError, match="recall_at_1 has 2 values for 1 queries"):
        with_aspects(values, [()], PLAIN)
    with pytest.raises(ValueError, match="'mean' or 'median', not 'sum'"):
        reduce_values(MetricValues(torch.ones(2), "sum"))

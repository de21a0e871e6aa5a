"""A set's numbers from its ranked queries, several sets' together, and what the numbers mean."""

from __future__ import annotations

from dataclasses import replace

import pytest

from diptych.contracts.retrieval import EvaluationProtocol, RankedQuery
from diptych.metrics.retrieval import aggregate, measuring
from diptych.metrics.retrieval.distractor_above import DistractorAbove
from diptych.metrics.retrieval.measuring import SetResult, all_meanings, measure, summary
from diptych.metrics.retrieval.median_rank import MedianRank
from diptych.metrics.retrieval.recall_at_k import RecallAtK
from own_metric import MeanRank

PROTOCOL = EvaluationProtocol("tiny", 1, "four images", False, "{text}", "none", recall_ks=(1,))
RANKED = [RankedQuery(f"q{rank}", ("a",), (1.0,), rank, (rank,), 1, aspects=(f"x{rank}",)) for rank in (1, 2)]


def test_aspects_are_expanded_once(monkeypatch):
    """Numbers, intervals and values per query come from the same expansion."""
    calls = []
    monkeypatch.setattr(
        measuring, "with_aspects", lambda *arguments: (calls.append(1), aggregate.with_aspects(*arguments))[1]
    )
    protocol = replace(PROTOCOL, aspect_metrics=("recall_at_1",))
    result = measure("one", protocol, (), RANKED, {"recall": RecallAtK()}, with_bounds=True)
    assert len(calls) == 1
    keys = {"recall_at_1", "recall_at_1/x1", "recall_at_1/x2"}
    assert result.metrics.keys() == result.bounds.keys() == result.values.keys() == keys
    assert result.meanings.keys() == {"recall_at_1"}


def test_hidden_answers_are_not_measured():
    protocol = replace(PROTOCOL, answers_hidden=True)
    result = measure("one", protocol, (), RANKED, {"recall": RecallAtK()}, with_bounds=True)
    assert result.metrics == result.bounds == result.values == result.meanings == {}


def test_a_metric_that_the_data_has_nothing_for_says_why():
    ranked = [replace(RANKED[0], distractor_ranks=(2,)), RANKED[1]]
    metrics = {"distractors": DistractorAbove()}
    assert measure("one", PROTOCOL, (), ranked, metrics, with_bounds=True).absent == {}
    result = measure("one", PROTOCOL, (), RANKED, metrics, with_bounds=True)
    assert result.absent == {"distractor_above": "no query names a distractor that the gallery holds"}
    assert result.metrics == result.bounds == {}


def test_an_average_is_read_as_its_parts_are():
    metrics = {"own": MeanRank(), "recall": RecallAtK(), "median": MedianRank()}
    for parts, unit, better in (
        (("mean_rank", "median_rank"), "count", "lower"),
        (("recall_at_1", "mean_rank"), "score", "higher"),
    ):
        protocol = replace(PROTOCOL, average_of=parts)
        result = measure("one", protocol, (), RANKED, metrics, with_bounds=False)
        assert (result.meanings["average"].unit, result.meanings["average"].better) == (unit, better)


def test_a_unit_that_is_none_is_refused_when_it_is_measured():
    with pytest.raises(ValueError, match="metric mean_rank: unit .* fraction, count, score, not 'percent'"):
        measure("one", PROTOCOL, (), RANKED, {"own": MeanRank("percent")}, with_bounds=False)


def test_sets_that_read_a_metric_differently_are_refused():
    sets = [
        measure(unit, PROTOCOL, (), RANKED, {"own": MeanRank(unit)}, with_bounds=False) for unit in ("count", "score")
    ]
    with pytest.raises(ValueError, match="metric mean_rank of set score"):
        all_meanings(sets)


def test_several_sets_are_averaged_over_what_they_share():
    one = SetResult("one", PROTOCOL, (), (), [], {"recall_at_1": 0.2, "map_at_5": 0.1})
    two = SetResult("two", PROTOCOL, (), (), [], {"recall_at_1": 0.6})
    assert summary([one]) == {"recall_at_1": 0.2, "map_at_5": 0.1}
    assert summary([one, two]) == {
        "recall_at_1": pytest.approx(0.4),
        "one/recall_at_1": 0.2,
        "one/map_at_5": 0.1,
        "two/recall_at_1": 0.6,
    }

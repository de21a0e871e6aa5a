"""The audit of composition, on rankings whose numbers are worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from diptych.contracts.retrieval import EvaluationProtocol, RankedQuery
from diptych.metrics.retrieval.composition import add_composition, ndcg
from diptych.metrics.retrieval.measuring import measure
from diptych.metrics.retrieval.recall_at_k import RecallAtK

PROTOCOL = EvaluationProtocol("tiny", 1, "100 images", False, "{text}", "none", recall_ks=(1, 10, 50))
# Of six queries the picture alone solves three, the text alone two, of which one is solved by both; two are left.
MODEL, IMAGE, TEXT = (1, 1, 2, 1, 3, 12), (1, 10, 4, 11, 20, 99), (5, 90, 80, 10, 30, 11)


def ranked(ranks, answers=1):
    return [
        RankedQuery(f"q{number}", ("a",), (1.0,), rank, (rank,) if rank else (), answers)
        for number, rank in enumerate(ranks)
    ]


def audited(protocol=PROTOCOL, model=MODEL, image=IMAGE, text=TEXT):
    result = measure("one", protocol, (), ranked(model), {"recall": RecallAtK()}, with_bounds=True)
    add_composition(result, {"image_only": ranked(image), "text_only": ranked(text)})
    return result


def test_the_parts_and_what_the_model_finds_of_each():
    result = audited()
    assert {name: result.metrics[name] for name in result.metrics if "shortcut" in name or "composed" in name} == {
        "shortcut_image_at_10": pytest.approx(3 / 6),
        "shortcut_text_at_10": pytest.approx(2 / 6),
        "shortcut_free_at_10": pytest.approx(2 / 6),
        "composed_at_10": pytest.approx(1 / 6),  # of the two that are left, the model has one among its first ten
        "recall_at_1/shortcut_image": pytest.approx(2 / 3),
        "recall_at_1/shortcut_text": 1,
        "recall_at_1/shortcut_free": 0,
        "shortcut_inflation_at_1": pytest.approx(3 / 6),
    }
    assert result.values["shortcut_free_at_10"].values.tolist() == [0, 0, 0, 0, 1, 1]
    assert result.bounds.keys() == result.metrics.keys()
    assert all(low <= result.metrics[name] <= high for name, (low, high) in result.bounds.items())
    assert result.meanings["composition_gap"].unit == "score" and result.meanings["composed_at_10"].better is None


def test_the_gap_is_one_minus_the_better_single_modality_over_both():
    image, model = (sum(1 / math.log2(1 + rank) for rank in ranks) / 6 for ranks in (IMAGE, MODEL))
    assert audited().metrics["composition_gap"] == pytest.approx(1 - image / model)
    assert audited(image=TEXT, text=IMAGE).metrics["composition_gap"] == pytest.approx(1 - image / model)
    same = audited(image=MODEL)
    assert same.metrics["composition_gap"] == 0 and same.bounds["composition_gap"] == (0, 0)


def test_ndcg_of_several_answers():
    query = RankedQuery("q", (), (), 2, (2, 5), 3)
    gained, best = 1 / math.log2(3) + 1 / math.log2(6), 1 + 1 / math.log2(3) + 1 / math.log2(4)
    values = ndcg([query, *ranked([1, None]), RankedQuery("u", (), (), None, (), 0)])
    assert values[:3].tolist() == pytest.approx([gained / best, 1, 0]) and values[3].isnan()


def test_the_recall_of_a_protocol_that_is_judged_by_another_metric_is_that_at_k():
    result = audited(replace(PROTOCOL, primary_metric="map_at_5"))
    assert result.metrics["recall_at_10/shortcut_free"] == pytest.approx(1 / 2)
    assert result.metrics["shortcut_inflation_at_10"] == pytest.approx(5 / 6 - 1 / 2)


def test_where_ten_is_too_many_the_next_smaller_k_is_taken_and_without_one_there_is_no_audit():
    assert "shortcut_image_at_5" in audited(replace(PROTOCOL, recall_ks=(1, 5, 50))).metrics
    for protocol in (replace(PROTOCOL, recall_ks=(50,)), replace(PROTOCOL, answers_hidden=True)):
        assert audited(protocol).metrics.keys() <= {"recall_at_50"}


def test_a_part_without_queries_has_no_recall_and_leaves_no_inflation():
    none = audited(image=(99,) * 6, text=(99,) * 6)
    assert none.metrics["shortcut_image_at_10"] == 0 and "recall_at_1/shortcut_image" not in none.metrics
    assert none.metrics["shortcut_inflation_at_1"] == 0 and none.bounds["shortcut_image_at_10"][1] > 0
    everything = audited(image=(1,) * 6)
    assert everything.metrics["shortcut_free_at_10"] == 0 and "shortcut_inflation_at_1" not in everything.metrics


def test_a_query_without_known_answers_is_in_no_part():
    result = audited()
    known = dict(result.metrics)
    more = [[*ranked(ranks), RankedQuery("u", ("a",), (1.0,), None, (), 0)] for ranks in (MODEL, IMAGE, TEXT)]
    result = measure("one", PROTOCOL, (), more[0], {"recall": RecallAtK()}, with_bounds=True)
    add_composition(result, {"image_only": more[1], "text_only": more[2]})
    assert result.metrics == pytest.approx(known)
    assert result.values["shortcut_free_at_10"].values[6].isnan()

"""From embeddings to numbers, on vectors that can be checked by eye."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from diptych.contracts.retrieval import BASELINES, EvaluationProtocol, EvaluationSet, GalleryImage, Query
from diptych.metrics.retrieval.distractor_above import DistractorAbove
from diptych.metrics.retrieval.median_rank import MedianRank
from diptych.metrics.retrieval.recall_at_k import RecallAtK
from diptych.metrics.retrieval.reference_rank import ReferenceRank
from diptych.systems.retrieval_evaluation import evaluate_set

PROTOCOL = EvaluationProtocol("tiny", 1, "four images", False, "{text}", "none", recall_ks=(1, 2))
QUERIES = tuple(
    Query(f"q{number}", "a", "text", target, (target,), aspects=(f"changes_{number % 2 + 1}",))
    for number, target in enumerate("bcd")
)
METRICS = {"recall": RecallAtK(), "median": MedianRank()}


@pytest.fixture
def evaluation():
    gallery = tuple(GalleryImage(name, Path(f"{name}.jpg")) for name in "abcd")
    return EvaluationSet("tiny", QUERIES, gallery, PROTOCOL, {"a": Path("a.jpg")})


def rows():
    """The model finds b and c, and d in the second place; a baseline always says a."""
    gallery = torch.eye(4)
    model = torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.8, 0.0, 0.0, 0.6]])
    given = {"queries/model": model, "gallery/model": gallery, "gallery/baseline": gallery}
    return given | {f"queries/{name}": torch.eye(4)[:1].repeat(3, 1) for name in BASELINES}


def test_the_model_is_measured_with_bounds_and_beside_the_baselines(evaluation):
    result = evaluate_set(evaluation, rows(), METRICS, baselines=True)
    assert [ranked.target_rank for ranked in result.ranked] == [1, 1, 2]
    assert result.metrics["recall_at_1"] == pytest.approx(2 / 3)
    assert result.metrics["recall_at_2"] == 1.0
    assert result.metrics["median_rank"] == 1
    assert result.metrics["image_only/recall_at_1"] == 0.0
    assert result.metrics["image_only/recall_at_2"] == pytest.approx(1 / 3)  # b is the first of three equal scores
    low, high = result.bounds["recall_at_1"]
    assert 0 <= low <= 2 / 3 <= high <= 1
    assert result.gallery_ids == tuple("abcd")


def test_the_composition_is_audited_by_the_baselines(evaluation):
    given = rows() | {"queries/text_only": torch.eye(4)[[3, 3, 3]]}  # the text alone says d, the picture alone a
    result = evaluate_set(evaluation, given, METRICS, baselines=True)
    text = result.values["shortcut_text_at_2"].values  # of the three equal scores behind d, a comes first
    assert text.tolist() == [0, 0, 1] and result.values["shortcut_image_at_2"].values.tolist() == [1, 0, 0]
    assert result.metrics["shortcut_free_at_2"] == result.metrics["composed_at_2"] == pytest.approx(1 / 3)
    assert result.metrics["recall_at_1/shortcut_text"] == 0 and result.metrics["recall_at_1/shortcut_free"] == 1
    assert result.bounds.keys() >= {"composition_gap", "shortcut_inflation_at_1", "shortcut_free_at_2"}


def test_what_a_metric_wants_is_ranked_for_it(evaluation):
    queries = [replace(query, distractors=("d", "a")) for query in QUERIES]
    metrics = METRICS | {"reference": ReferenceRank(), "distractors": DistractorAbove()}
    result = evaluate_set(replace(evaluation, queries=queries), rows(), metrics, baselines=True)
    assert result.values["reference_rank"].values.tolist() == [2, 2, 1]  # of equal scores the first of the gallery
    assert result.metrics["reference_above"] == result.metrics["distractor_above"] == pytest.approx(1 / 3)
    assert result.metrics["image_only/reference_rank"] == 1
    assert evaluate_set(evaluation, rows(), METRICS, baselines=True).ranked[0].reference_rank is None


def test_a_validation_has_neither_baselines_nor_bounds(evaluation):
    result = evaluate_set(evaluation, rows(), METRICS, baselines=False)
    assert result.bounds == {} and not any("shortcut" in name or "composition" in name for name in result.metrics)
    assert not any("/" in name and name.split("/")[0] in BASELINES for name in result.metrics)


def test_hidden_answers_are_ranked_and_not_measured(evaluation):
    hidden = replace(
        evaluation,
        protocol=replace(PROTOCOL, answers_hidden=True),
        queries=[replace(query, target_image=None, relevant_ids=()) for query in QUERIES],
    )
    result = evaluate_set(hidden, rows(), METRICS, baselines=True)
    assert [ranked.ranked_ids[0] for ranked in result.ranked] == ["b", "c", "a"]
    assert result.metrics == {} and result.bounds == {}

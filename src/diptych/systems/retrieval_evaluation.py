"""From embeddings to the numbers of a protocol: rank, measure, compare with the baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor
from torchmetrics import Metric

from diptych.contracts.retrieval import EvaluationProtocol, EvaluationSet, MetricValues, Query, RankedQuery
from diptych.metrics.retrieval.aggregate import summarise, with_aspects
from diptych.metrics.retrieval.bootstrap import intervals
from diptych.ranking.ranked_queries import NUM_RESULTS, rank_queries

BASELINES = ("sum", "image_only", "text_only")


@dataclass
class SetResult:
    """The results of one evaluation set: `metrics` by name (`recall_at_1`, `image_only/recall_at_1`), 95 % `bounds`
    of the model's own metrics, the ranked queries, and the model's `values` per query (in the order of `ranked`), of
    which `metrics` and `bounds` are made, those of an aspect included.
    """

    name: str
    protocol: EvaluationProtocol
    queries: Sequence[Query]
    gallery_ids: tuple[str, ...]
    ranked: list[RankedQuery]
    metrics: dict[str, float] = field(default_factory=dict)
    bounds: dict[str, tuple[float, float]] = field(default_factory=dict)
    values: dict[str, MetricValues] = field(default_factory=dict)


def evaluate_set(
    evaluation: EvaluationSet, rows: Mapping[str, Tensor], metrics: Mapping[str, Metric], baselines: bool
) -> SetResult:
    """Ranks the set's gallery for its queries and measures.

    `rows` are embeddings by name as `CIRSystem` gathers them: `queries/model` (Q, E) and `gallery/model` (G, E), and
    for the baselines `queries/sum` and so on against `gallery/baseline`. Bounds come with the baselines: both are for
    final results, not for every validation.
    """
    ranked = rank_set(evaluation, rows["queries/model"], rows["gallery/model"])
    result = measure(evaluation.name, evaluation.protocol, evaluation.queries, ranked, metrics, with_bounds=baselines)
    result.gallery_ids = tuple(image.image_id for image in evaluation.gallery)
    if baselines and not evaluation.protocol.answers_hidden:
        for name in BASELINES:
            ranked = rank_set(evaluation, rows[f"queries/{name}"], rows["gallery/baseline"])
            other = measure(name, evaluation.protocol, evaluation.queries, ranked, metrics, with_bounds=False)
            result.metrics |= {f"{name}/{key}": value for key, value in other.metrics.items()}
    return result


def rank_set(evaluation: EvaluationSet, queries: Tensor, gallery: Tensor) -> list[RankedQuery]:
    """The ranked gallery of every query under the set's protocol."""
    gallery_ids = [image.image_id for image in evaluation.gallery]
    return rank_queries(queries, gallery, evaluation.queries, gallery_ids, evaluation.protocol, k=NUM_RESULTS)


def measure(
    name: str,
    protocol: EvaluationProtocol,
    queries: Sequence[Query],
    ranked: list[RankedQuery],
    metrics: Mapping[str, Metric],
    with_bounds: bool,
) -> SetResult:
    """The metrics of ranked queries; none where the answers are hidden."""
    result = SetResult(name, protocol, queries, (), ranked)
    if protocol.answers_hidden:
        return result
    values: dict[str, MetricValues] = {}
    for metric in metrics.values():
        metric.reset()
        metric.update(ranked, protocol)
        values |= metric.compute()
    aspects = [query.aspects for query in ranked]
    result.metrics = summarise(values, aspects, protocol)
    result.bounds = intervals(values, aspects, protocol) if with_bounds else {}
    result.values = with_aspects(values, aspects, protocol)
    return result


def summary(results: Sequence[SetResult]) -> dict[str, float]:
    """The metrics of all sets: of a single one as they are; of several also their mean, under the plain name."""
    if len(results) == 1:
        return dict(results[0].metrics)
    shared = set.intersection(*(set(result.metrics) for result in results))
    mean = {key: sum(result.metrics[key] for result in results) / len(results) for key in sorted(shared)}
    return mean | {f"{result.name}/{key}": value for result in results for key, value in result.metrics.items()}

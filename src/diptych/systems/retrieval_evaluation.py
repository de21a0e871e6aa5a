"""From embeddings to the numbers of a protocol: rank, measure, compare with the baselines, audit the composition."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor
from torchmetrics import Metric

from diptych.contracts.retrieval import BASELINES, EvaluationSet, OtherRank, RankedQuery
from diptych.metrics.retrieval.composition import add_composition
from diptych.metrics.retrieval.measuring import SetResult, measure
from diptych.metrics.retrieval.query_metric import ranks_wanted
from diptych.ranking.ranked_queries import NUM_RESULTS, rank_queries


def evaluate_set(
    evaluation: EvaluationSet, rows: Mapping[str, Tensor], metrics: Mapping[str, Metric], baselines: bool
) -> SetResult:
    """Ranks the set's gallery for its queries and measures.

    `rows` are embeddings by name as `CIRSystem` gathers them: `queries/model` (Q, E) and `gallery/model` (G, E), and
    for the baselines, where the model has them, `queries/sum` and so on against `gallery/baseline`. Bounds and the
    audit of composition come with the baselines: they are for final results, not for every validation.
    """
    also = ranks_wanted(metrics)
    ranked = rank_set(evaluation, rows["queries/model"], rows["gallery/model"], also)
    result = measure(evaluation.name, evaluation.protocol, evaluation.queries, ranked, metrics, with_bounds=baselines)
    result.gallery_ids = tuple(image.image_id for image in evaluation.gallery)
    if baselines and "gallery/baseline" in rows and not evaluation.protocol.answers_hidden:
        alone: dict[str, list[RankedQuery]] = {}
        for name in BASELINES:
            alone[name] = rank_set(evaluation, rows[f"queries/{name}"], rows["gallery/baseline"], also)
            other = measure(name, evaluation.protocol, evaluation.queries, alone[name], metrics, with_bounds=False)
            result.metrics |= {f"{name}/{key}": value for key, value in other.metrics.items()}
        add_composition(result, alone)
    return result


def rank_set(
    evaluation: EvaluationSet, queries: Tensor, gallery: Tensor, also: Collection[OtherRank] = ()
) -> list[RankedQuery]:
    """The ranked gallery of every query under the set's protocol, with the further ranks that are wanted."""
    gallery_ids = [image.image_id for image in evaluation.gallery]
    return rank_queries(queries, gallery, evaluation.queries, gallery_ids, evaluation.protocol, NUM_RESULTS, also)

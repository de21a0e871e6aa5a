"""Median rank of the target: 1-based, and 0-based as good4cir's evaluation prints it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from diptych.contracts.retrieval import EvaluationProtocol, MetricValues, RankedQuery
from diptych.metrics.retrieval.query_metric import QueryMetric, ranks_tensor


def median_rank(target_ranks: Tensor) -> float:
    """The median of the ranks (Q,) that are not NaN: of an even number, the mean of the middle two. NaN if none."""
    ranks = target_ranks[~target_ranks.isnan()].double().sort().values
    if not len(ranks):
        return float("nan")
    return float((ranks[(len(ranks) - 1) // 2] + ranks[len(ranks) // 2]) / 2)


class MedianRank(QueryMetric):
    """`median_rank`, counted from 1, and `median_rank_zero_based`; a target that was not found is infinitely far."""

    def values_per_key(self, ranked: Sequence[RankedQuery], protocol: EvaluationProtocol) -> dict[str, MetricValues]:
        """The target's rank per query, to be reduced by the median."""
        ranks = ranks_tensor(ranked, [query.target_rank for query in ranked])
        by_name = {"median_rank": ranks, "median_rank_zero_based": ranks - 1}
        return {name: MetricValues(of, "median", unit="count", better="lower") for name, of in by_name.items()}

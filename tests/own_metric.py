"""A metric of a user's own, in no room of the package: it says itself how it is to be read."""

from __future__ import annotations

from diptych.contracts.retrieval import MetricValues
from diptych.metrics.retrieval.query_metric import QueryMetric, ranks_tensor


class MeanRank(QueryMetric):
    """`mean_rank` of the targets: no fraction, and lower is better."""

    def __init__(self, unit="count", better="lower"):
        super().__init__()
        self.unit, self.better = unit, better

    def values_per_key(self, ranked, protocol):
        """The target's rank per query."""
        ranks = ranks_tensor(ranked, [query.target_rank for query in ranked])
        return {"mean_rank": MetricValues(ranks, unit=self.unit, better=self.better)}

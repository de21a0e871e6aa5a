"""Recall@K of composed image retrieval: is the target among the first K? (Hit rate, not the share of positives.)"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from diptych.contracts.retrieval import EvaluationProtocol, MetricValues, RankedQuery
from diptych.metrics.retrieval.query_metric import QueryMetric, ranks_tensor


def recall_at_k(target_ranks: Tensor, k: int) -> Tensor:
    """1.0 or 0.0 per query (Q,) from 1-based ranks (Q,); infinity is a miss, NaN stays NaN."""
    return (target_ranks <= k).double().masked_fill(target_ranks.isnan(), float("nan"))


class RecallAtK(QueryMetric):
    """`recall_at_<K>` for every K of the protocol's `recall_ks`."""

    def values_per_key(self, ranked: Sequence[RankedQuery], protocol: EvaluationProtocol) -> dict[str, MetricValues]:
        """Hit or miss per query and K."""
        ranks = ranks_tensor(ranked, [query.target_rank for query in ranked])
        return {f"recall_at_{k}": MetricValues(recall_at_k(ranks, k)) for k in protocol.recall_ks}

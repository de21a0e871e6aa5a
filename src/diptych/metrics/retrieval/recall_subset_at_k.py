"""CIRR's Recall_subset@K: Recall@K in the same ranking, restricted to the group members other than the reference."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from diptych.contracts.retrieval import EvaluationProtocol, MetricValues, RankedQuery
from diptych.metrics.retrieval.query_metric import QueryMetric, ranks_tensor
from diptych.metrics.retrieval.recall_at_k import recall_at_k


def recall_subset_at_k(subset_ranks: Tensor, k: int) -> Tensor:
    """1.0 or 0.0 per query (Q,) from the target's 1-based rank among the other group members (Q,)."""
    return recall_at_k(subset_ranks, k)


class RecallSubsetAtK(QueryMetric):
    """`recall_subset_at_<K>` for every K of the protocol's `subset_ks`; a target outside the group is a miss."""

    def values_per_key(self, ranked: Sequence[RankedQuery], protocol: EvaluationProtocol) -> dict[str, MetricValues]:
        """Hit or miss per query and K."""
        ranks = ranks_tensor(ranked, [query.subset_rank for query in ranked])
        return {f"recall_subset_at_{k}": MetricValues(recall_subset_at_k(ranks, k)) for k in protocol.subset_ks}

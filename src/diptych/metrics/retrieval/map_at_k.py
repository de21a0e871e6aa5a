"""mAP@K by CIRCO's rule (Baldrati et al., ICCV 2023): several right answers, denominator min(K, their number)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from diptych.contracts.retrieval import EvaluationProtocol, MetricValues, RankedQuery
from diptych.metrics.retrieval.query_metric import QueryMetric


def average_precision_at_k(relevant_ranks: Sequence[int], num_relevant: int, k: int) -> float:
    """AP@K of one query: sum over the hits of (hits so far / rank), divided by min(K, num_relevant).

    `relevant_ranks` are 1-based and ascending; `num_relevant` counts all answers, found or not. NaN without answers.
    """
    if num_relevant == 0:
        return float("nan")
    hits = [rank for rank in relevant_ranks if rank <= k]
    return sum(count / rank for count, rank in enumerate(hits, start=1)) / min(k, num_relevant)


class MeanAveragePrecisionAtK(QueryMetric):
    """`map_at_<K>` for every K of the protocol's `map_ks`."""

    def values_per_key(self, ranked: Sequence[RankedQuery], protocol: EvaluationProtocol) -> dict[str, MetricValues]:
        """AP per query and K."""
        values = {
            k: [average_precision_at_k(query.relevant_ranks, query.num_relevant, k) for query in ranked]
            for k in protocol.map_ks
        }
        return {f"map_at_{k}": MetricValues(torch.tensor(of_k, dtype=torch.float64)) for k, of_k in values.items()}

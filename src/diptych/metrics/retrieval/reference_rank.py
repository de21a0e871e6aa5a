"""Where the reference image stands in the ranking of its own query, where it is a candidate."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from diptych.contracts.retrieval import EvaluationProtocol, MetricValues, RankedQuery
from diptych.metrics.retrieval.query_metric import QueryMetric, above_target

_ABSENT = "the protocol takes the reference out of the ranking, or the gallery does not hold it"


class ReferenceRank(QueryMetric):
    """`reference_rank`, the median rank of the reference, counted from 1; and `reference_above`, the share of queries
    whose reference stands above the target.
    """

    wants = frozenset({"reference_rank"})

    def values_per_key(self, ranked: Sequence[RankedQuery], protocol: EvaluationProtocol) -> dict[str, MetricValues]:
        """Rank and comparison per query, NaN where the reference is no candidate."""
        found = [math.nan if query.reference_rank is None else query.reference_rank for query in ranked]
        ranks = torch.tensor(found, dtype=torch.float64)
        above = MetricValues(above_target(ranks, ranked), better="lower", absent=_ABSENT)
        return {
            "reference_rank": MetricValues(ranks, "median", unit="count", better="higher", absent=_ABSENT),
            "reference_above": above,
        }

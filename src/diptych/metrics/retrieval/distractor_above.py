"""How often an image that the record itself names as near but wrong is preferred to the right one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from diptych.contracts.retrieval import EvaluationProtocol, MetricValues, RankedQuery
from diptych.metrics.retrieval.query_metric import QueryMetric, above_target


class DistractorAbove(QueryMetric):
    """`distractor_above`: the share of queries with one of their distractors above the target, of those queries that
    have distractors in the gallery.
    """

    wants = frozenset({"distractor_ranks"})

    def values_per_key(self, ranked: Sequence[RankedQuery], protocol: EvaluationProtocol) -> dict[str, MetricValues]:
        """The comparison of the first distractor with the target, per query."""
        first = torch.tensor([min(query.distractor_ranks, default=math.nan) for query in ranked], dtype=torch.float64)
        absent = "no query names a distractor that the gallery holds"
        return {"distractor_above": MetricValues(above_target(first, ranked), better="lower", absent=absent)}

"""What the retrieval metrics share: they keep ranked queries and give one value per query."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from diptych.contracts.retrieval import EvaluationProtocol, MetricMeaning, MetricValues, OtherRank, RankedQuery
from diptych.parallel.private_parts import check_overrides

check_overrides("_wrap_compute")


class QueryMetric(Metric, ABC):
    """Base of the retrieval metrics. `compute` gives values in the order in which the queries were handed over.

    Every process is expected to see all queries, already merged by id: nothing is synchronised here, so that a query
    that two processes hold cannot count twice. `wants` names the ranks that a metric needs beside those of the answers:
    they are computed only where a metric wants them.
    """

    full_state_update = False
    wants: ClassVar[frozenset[OtherRank]] = frozenset()

    def __init__(self) -> None:
        super().__init__(sync_on_compute=False)
        self.ranked: list[RankedQuery] = []
        self.protocol: EvaluationProtocol | None = None

    def update(self, ranked: Sequence[RankedQuery], protocol: EvaluationProtocol) -> None:
        """Add queries. Raises ValueError where earlier ones were ranked under another protocol."""
        if self.protocol is not None and self.protocol != protocol:
            raise ValueError(f"one metric, two protocols: {self.protocol.describe()} and {protocol.describe()}")
        self.protocol = protocol
        self.ranked.extend(ranked)

    def compute(self) -> dict[str, MetricValues]:
        """Values per query under each of the metric's keys; empty when the protocol asks for no K of this metric."""
        if self.protocol is None:
            return {}
        return self.values_per_key(self.ranked, self.protocol)

    def reset(self) -> None:
        """Forget all queries and their protocol."""
        super().reset()
        self.ranked, self.protocol = [], None

    def _wrap_compute(self, compute: Callable[[], dict[str, MetricValues]]) -> Callable[[], dict[str, MetricValues]]:
        """Torchmetrics turns tensors of one element into scalars; a single query keeps its shape (1,) here."""
        wrapped = super()._wrap_compute(compute)

        @wraps(compute)
        def keep_shape() -> dict[str, MetricValues]:
            return {name: replace(metric, values=metric.values.reshape(-1)) for name, metric in wrapped().items()}

        return keep_shape

    def meanings(self, protocol: EvaluationProtocol) -> dict[str, MetricMeaning]:
        """How the metric's keys under a protocol are to be read, before anything is measured: asked with one made-up
        query, whose target is found first.
        """
        query = RankedQuery("", ("",), (0.0,), 1, (1,), 1, subset_rank=1)
        return {name: metric.meaning for name, metric in self.values_per_key([query], protocol).items()}

    @abstractmethod
    def values_per_key(self, ranked: Sequence[RankedQuery], protocol: EvaluationProtocol) -> dict[str, MetricValues]:
        """The metric itself."""


def ranks_wanted(metrics: Mapping[str, Metric]) -> frozenset[OtherRank]:
    """What the metrics want together; a metric that is no `QueryMetric` wants nothing."""
    return frozenset(name for metric in metrics.values() for name in getattr(metric, "wants", ()))


def above_target(ranks: Tensor, ranked: Sequence[RankedQuery]) -> Tensor:
    """Whether what has the `ranks` (Q,), NaN for nothing, stands above its query's target: 1.0 or 0.0 per query (Q,).

    NaN too where the answer is not known, and where a list of predictions holds neither of the two.
    """
    target = ranks_tensor(ranked, [query.target_rank for query in ranked])
    unknown = ranks.isnan() | target.isnan() | (ranks.isinf() & target.isinf())
    return (ranks < target).double().masked_fill(unknown, torch.nan)


def ranks_tensor(ranked: Sequence[RankedQuery], ranks: Sequence[int | None]) -> Tensor:
    """Ranks (Q,) float64: infinity where an answer was not found, NaN where the query has no known answer."""
    not_found = [torch.inf if query.num_relevant else torch.nan for query in ranked]
    values = [missing if rank is None else rank for rank, missing in zip(ranks, not_found, strict=True)]
    return torch.tensor(values, dtype=torch.float64)

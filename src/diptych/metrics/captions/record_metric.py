"""What metrics over whole sets share: they keep every record, and score all of them together at the end."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from diptych.contracts.retrieval import EvaluationProtocol, MetricMeaning
from diptych.metrics.captions.caption_scores import CaptionScores
from diptych.parallel.private_parts import check_overrides
from diptych.storage.json_values import json_value

check_overrides("_sync_dist")


def _alone() -> bool:
    """What a local metric takes for an answer to whether there are other processes."""
    return False


class RecordMetric(Metric, ABC):
    """Base of the metrics that look at all queries at once.

    By default the metric is `local`: it scores the records that this process has, which are all, while other processes
    do something else. Otherwise records are merged by query id: processes may hold different parts, the same ones, or
    none, and the result is the same on each of them. What one brings travels as bytes, in torchmetrics' own
    synchronisation.
    """

    full_state_update = False
    records: list[Tensor]

    def __init__(self, local: bool = True) -> None:
        super().__init__(distributed_available_fn=_alone if local else None)
        self.add_state("records", default=[], dist_reduce_fx="cat")

    def forward(self, *args: Any, **kwargs: Any) -> None:
        """Refused, as it would score a batch by itself.

        Raises:
            ValueError: always.
        """
        raise ValueError("this metric scores all items at once, not batches: call update, and compute at the end")

    def meanings(self, protocol: EvaluationProtocol) -> dict[str, MetricMeaning]:
        """How the metric's keys in the log of a training are to be read: none, as validations do not score captions."""
        return {}

    @abstractmethod
    def compute(self) -> CaptionScores:
        """The metric over all records, in the order of their ids, which does not depend on the processes."""

    def _add(self, records: Iterable[tuple[Any, ...]]) -> None:
        """Keeps records of what JSON can hold; the first field is the query id."""
        lines = "".join(json.dumps(record) + "\n" for record in records)
        if lines:
            self.records.append(torch.frombuffer(bytearray(lines, "ascii"), dtype=torch.uint8).to(self.device))

    def _merged(self) -> list[list[Any]]:
        """One record a query, sorted by id.

        Raises:
            ValueError: there is none, or one id has two different records.
        """
        merged: dict[str, list[Any]] = {}
        pieces = [self.records] if isinstance(self.records, Tensor) else self.records
        for piece in pieces:
            for line in piece.cpu().numpy().tobytes().splitlines():
                record = json_value(line)
                if merged.setdefault(record[0], record) != record:
                    raise ValueError(
                        f"query {record[0]!r} was scored twice with different captions, references, evidence or "
                        "results; ids must be unique"
                    )
        if not merged:
            raise ValueError("there are no predictions to score")
        return [merged[query_id] for query_id in sorted(merged)]

    def _sync_dist(self, *args: Any, **kwargs: Any) -> None:
        # torchmetrics would stand in for nothing with numbers of its own type, and the processes' types must agree.
        self.records = self.records or [torch.empty(0, dtype=torch.uint8, device=self.device)]
        super()._sync_dist(*args, **kwargs)

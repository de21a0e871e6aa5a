"""What the caption metrics share: they keep every caption, and score all of them together at the end."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from diptych.metrics.caption_corpus import CaptionCorpus


@dataclass
class CaptionScores:
    """What a caption metric found: `corpus` values by name, `per_item` values (N,) by name, and what they rest on.

    `query_ids` (N) are in the order of the per-item values. `num_items` is N, `references_per_item` the fewest and the
    most. `document_frequencies` says in words what they were counted over, None where a metric uses none.
    """

    corpus: dict[str, float]
    per_item: dict[str, np.ndarray]
    document_frequencies: str | None = None
    query_ids: tuple[str, ...] = ()
    num_items: int = 0
    references_per_item: tuple[int, int] = field(default=(0, 0))

    def describe(self) -> str:
        """One line for tables and logs: N, references per item, and where document frequencies came from."""
        fewest, most = self.references_per_item
        references = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        line = f"N={self.num_items}, references per item: {references}"
        return f"{line}, document frequencies: {self.document_frequencies}" if self.document_frequencies else line


class CaptionMetric(Metric, ABC):
    """Base of the metrics that compare predictions with reference captions, over the whole corpus at once.

    Captions are merged by query id: processes may hold different parts, the same ones, or none, and the result is the
    same on each of them. What one brings travels as bytes, in torchmetrics' own synchronisation.
    """

    full_state_update = False
    records: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("records", default=[], dist_reduce_fx="cat")

    def update(
        self, query_ids: Sequence[str], predictions: Sequence[str], reference_captions: Sequence[Sequence[str]]
    ) -> None:
        """Add captions of queries; the same captions may come again.

        Raises:
            ValueError: the three are not of one length, or an item's references are one text instead of a list.
        """
        if not len(query_ids) == len(predictions) == len(reference_captions):
            lengths = f"{len(query_ids)}, {len(predictions)} and {len(reference_captions)}"
            raise ValueError(f"query ids, predictions and reference captions differ in number: {lengths}")
        lines = ""
        for query_id, prediction, references in zip(query_ids, predictions, reference_captions, strict=True):
            if isinstance(references, str):
                raise ValueError(f"query {query_id!r}: its reference captions are one text; put it in a list")
            lines += json.dumps((query_id, prediction, list(references))) + "\n"
        if lines:
            self.records.append(torch.frombuffer(bytearray(lines, "ascii"), dtype=torch.uint8).to(self.device))

    def compute(self) -> CaptionScores:
        """The metric over all captions, in the order of their ids, which does not depend on the processes.

        Raises:
            ValueError: one id has two different predictions or references, or as the metric's function.
        """
        merged: dict[str, tuple[str, list[str]]] = {}
        for query_id, prediction, references in self._all():
            if merged.setdefault(query_id, (prediction, references)) != (prediction, references):
                raise ValueError(f"query {query_id!r} was scored twice with different captions; ids must be unique")
        query_ids = tuple(sorted(merged))
        corpus = CaptionCorpus(
            [merged[query_id][0] for query_id in query_ids], [merged[query_id][1] for query_id in query_ids]
        )
        scores = self.score(corpus)
        scores.query_ids, scores.num_items = query_ids, len(corpus)
        scores.references_per_item = (int(corpus.num_references.min()), int(corpus.num_references.max()))
        return scores

    def forward(self, *args: Any, **kwargs: Any) -> None:
        """Refused, as it would score a batch by itself.

        Raises:
            ValueError: always.
        """
        raise ValueError("caption metrics score all items at once, not batches: call update, and compute at the end")

    @abstractmethod
    def score(self, corpus: CaptionCorpus) -> CaptionScores:
        """The metric itself; `compute` adds the ids and counts."""

    def _sync_dist(self, *args: Any, **kwargs: Any) -> None:
        # torchmetrics would stand in for nothing with numbers of its own type, and the processes' types must agree.
        self.records = self.records or [torch.empty(0, dtype=torch.uint8, device=self.device)]
        super()._sync_dist(*args, **kwargs)

    def _all(self) -> Iterator[tuple[str, str, list[str]]]:
        pieces = [self.records] if isinstance(self.records, Tensor) else self.records
        for piece in pieces:
            for line in piece.cpu().numpy().tobytes().splitlines():
                query_id, prediction, references = json.loads(line)
                yield query_id, prediction, references

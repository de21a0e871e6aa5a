"""What the caption metrics share: they take caption items, keep them all, and score them together at the end."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diptych.contracts.news import CaptionItem
from diptych.metrics.captions.caption_scores import CaptionScores
from diptych.metrics.captions.entity_matching import Claim
from diptych.metrics.captions.record_metric import RecordMetric


class CaptionMetric(RecordMetric):
    """Base of the metrics of generated captions, over the whole corpus at once and on any number of processes."""

    def update(self, items: Sequence[CaptionItem]) -> None:
        """Add captions of queries; the same captions may come again.

        Raises:
            ValueError: a caption is not a text, or an item's references are one text instead of a list.
        """
        self._add(list(map(_record, items)))

    def compute(self) -> CaptionScores:
        """The metric over all captions, in the order of their ids, which does not depend on the processes.

        Raises:
            ValueError: there are none, one id has two different captions, or as the metric's `score`.
        """
        items = [_item(record) for record in self._merged()]
        scores = self.score(items)
        scores.query_ids, scores.num_items = tuple(item.query_id for item in items), len(items)
        numbers = [len(item.reference_captions) for item in items]
        scores.references_per_item = (min(numbers), max(numbers))
        return scores

    def claims(self, items: Sequence[CaptionItem]) -> Sequence[Sequence[tuple[Claim, bool]]] | None:
        """For reports: the names, dates and numbers of each caption, and whether its evidence states them. None from a
        metric that does not look for them.
        """
        return None

    @abstractmethod
    def score(self, items: Sequence[CaptionItem]) -> CaptionScores:
        """The metric itself, of items sorted by id; `compute` adds the ids and counts."""


def _record(item: CaptionItem) -> tuple[Any, ...]:
    if not isinstance(item.caption, str):
        raise ValueError(f"query {item.query_id!r}: expected a text as caption, found {item.caption!r:.80}")
    if isinstance(item.reference_captions, str):
        raise ValueError(f"query {item.query_id!r}: its reference captions are one text; put it in a list")
    path = None if item.image_path is None else str(item.image_path)
    return item.query_id, item.caption, list(item.reference_captions), item.evidence_text, path


def _item(record: Sequence[Any]) -> CaptionItem:
    query_id, caption, references, evidence, path = record
    return CaptionItem(query_id, caption, tuple(references), evidence, None if path is None else Path(path))

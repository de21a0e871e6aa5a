"""Part of a split's photos, and of their references, for what a caption's score owes to the captions beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from diptych.contracts.news import CaptionItem
from diptych.metrics.captions.caption_scores import CaptionScores


@dataclass(frozen=True, slots=True)
class CaptionSubset:
    """`num_photos` of a split are scored together, with the first `num_references` of each. Of `num_measured` of
    them, the same for every seed, the values are reported; the others are drawn by `seed`, those of a smaller
    number among those of a larger one. None is all there are.

    Raises:
        ValueError: a number below 1, or more measured than scored.
    """

    num_photos: int | None = None
    num_measured: int | None = None
    num_references: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_photos", "num_measured", "num_references"):
            if (value := getattr(self, name)) is not None and not (isinstance(value, int) and value >= 1):
                raise ValueError(f"caption_subset.{name}={value!r} must be a number of 1 or more, or null for all")
        if self.num_photos is not None and (self.num_measured or 0) > self.num_photos:
            raise ValueError(
                f"caption_subset.num_measured={self.num_measured} is more than num_photos={self.num_photos}, its set"
            )

    def of(self, items: Sequence[CaptionItem]) -> list[CaptionItem]:
        """The captions of a split that are scored together, in their order.

        Raises:
            ValueError: there are fewer captions, or references of one, than are asked for.
        """
        if (most := max(self.num_photos or 0, self.num_measured or 0)) > len(items):
            raise ValueError(f"caption_subset asks for {most} photos: the split has {len(items)}")
        chosen = set(self._order(items)[: self.num_photos])
        found = [item for item in items if item.query_id in chosen]
        if self.num_references is None:
            return found
        if few := next((item for item in found if len(item.reference_captions) < self.num_references), None):
            raise ValueError(
                f"caption_subset.num_references={self.num_references}: query {few.query_id!r} has "
                f"{len(few.reference_captions)} reference captions"
            )
        return [replace(item, reference_captions=item.reference_captions[: self.num_references]) for item in found]

    def of_measured(
        self, items: Sequence[CaptionItem], scores: Mapping[str, CaptionScores]
    ) -> tuple[list[CaptionItem], dict[str, CaptionScores]]:
        """The captions whose values are reported, and their scores: the means of their values.

        Raises:
            ValueError: a metric gives a number that is no mean of captions' values, such as BLEU's.
        """
        if self.num_measured is None:
            return [*items], dict(scores)
        measured = set(self._order(items)[: self.num_measured])
        of_measured = {name: _of_some(name, one, measured) for name, one in scores.items()}
        return [item for item in items if item.query_id in measured], of_measured

    def _order(self, items: Sequence[CaptionItem]) -> list[str]:
        ids = [item.query_id for item in items]
        first = sorted(ids, key=_place)[: self.num_measured or 0]
        return [*first, *sorted(set(ids) - set(first), key=lambda query_id: _place(f"{self.seed}/{query_id}"))]


def _of_some(metric: str, scores: CaptionScores, query_ids: set[str]) -> CaptionScores:
    for name, value in scores.corpus.items():
        if name not in scores.per_item or not np.isclose(value, np.nanmean(scores.per_item[name]), equal_nan=True):
            raise ValueError(
                f"caption_subset.num_measured: {name} of the metric {metric} is no mean of values of single captions; "
                "choose metrics that are: system/metrics@caption_metrics=[cider,rouge_l]"
            )
    places = [place for place, query_id in enumerate(scores.query_ids) if query_id in query_ids]
    per_item = {name: column[places] for name, column in scores.per_item.items()}
    return replace(
        scores,
        corpus={name: float(np.nanmean(per_item[name])) for name in scores.corpus},
        per_item=per_item,
        query_ids=tuple(scores.query_ids[place] for place in places),
    )


def _place(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()

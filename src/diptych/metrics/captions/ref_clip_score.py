"""RefCLIPScore (Hessel et al., EMNLP 2021): the harmonic mean of CLIPScore and the likeness to the references."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diptych.contracts.news import CaptionItem
from diptych.metrics.captions.caption_metric import CaptionMetric
from diptych.metrics.captions.caption_scores import CaptionScores
from diptych.metrics.captions.clip_score import clip_score
from diptych.metrics.captions.clip_scorer import ClipScorer
from diptych.metrics.captions.item_checks import require_references


def ref_clip_score(items: Sequence[CaptionItem], scorer: ClipScorer) -> tuple[float, np.ndarray]:
    """RefCLIPScore of the corpus, and of each item (N,); the first is the mean of the second.

    The likeness of an item is the highest cosine of its caption and a reference, not below 0 and not scaled; CLIPScore
    is scaled by 2.5, so an item's value lies between 0 and 1.43. It is 0 where one of the two is.

    Raises:
        ValueError: items have no reference, which are listed, or as `clip_score`.
    """
    require_references(items, "ref_clip_score")
    _, with_photo, _ = clip_score(items, scorer)
    caption = scorer.text_features([item.caption for item in items])
    numbers = [len(item.reference_captions) for item in items]
    references = scorer.text_features([text for item in items for text in item.reference_captions])
    cosine = (np.repeat(caption, numbers, axis=0) * references).sum(1)
    likeness = np.maximum(np.maximum.reduceat(cosine, np.cumsum([0, *numbers[:-1]])), 0)
    total = with_photo + likeness
    per_item = np.divide(2 * with_photo * likeness, total, out=np.zeros_like(total), where=total > 0)
    return float(per_item.mean()), per_item


class RefCLIPScore(CaptionMetric):
    """`ref_clip_score` over all captions of all processes."""

    def __init__(self, scorer: ClipScorer, local: bool = True) -> None:
        super().__init__(local)
        self.scorer = scorer

    def score(self, items: Sequence[CaptionItem]) -> CaptionScores:
        """The corpus' value and those of the items."""
        value, per_item = ref_clip_score(items, self.scorer)
        return CaptionScores({"ref_clip_score": value}, {"ref_clip_score": per_item}, model=self.scorer.describe())

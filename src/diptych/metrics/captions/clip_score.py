"""CLIPScore (Hessel et al., EMNLP 2021) on its authors' scale: 2.5 times the cosine of photo and caption, not below 0.

CLIP reads 77 tokens, some 55 words, with the words that CLIPScore puts before every caption: the end of a longer
caption does not count. `clip_score_windowed` reads all of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diptych.contracts.news import CaptionItem
from diptych.contracts.retrieval import Better, Unit
from diptych.metrics.captions.caption_metric import CaptionMetric
from diptych.metrics.captions.caption_scores import CaptionScores
from diptych.metrics.captions.clip_scorer import ClipScorer, clip_scores
from diptych.metrics.captions.item_checks import require_images


def clip_score(items: Sequence[CaptionItem], scorer: ClipScorer) -> tuple[float, np.ndarray, np.ndarray]:
    """CLIPScore of the corpus, of each item (N,), and which captions were cut (N,); the first is the second's mean.

    Raises:
        ValueError: items have no photo, which are listed, or as `ClipScorer`.
    """
    require_images(items, "clip_score")
    captions = [item.caption for item in items]
    per_item = clip_scores(scorer.image_features(items), scorer.text_features(captions))
    return float(per_item.mean()), per_item, np.array([not scorer.fits(caption) for caption in captions])


class CLIPScore(CaptionMetric):
    """`clip_score` over all captions of all processes, and `clip_score_cut_share`, the share of captions cut."""

    def __init__(self, scorer: ClipScorer, local: bool = True) -> None:
        super().__init__(local)
        self.scorer = scorer

    def score(self, items: Sequence[CaptionItem]) -> CaptionScores:
        """The corpus' value and those of the items."""
        value, per_item, cut = clip_score(items, self.scorer)
        corpus = {"clip_score": value, "clip_score_cut_share": float(cut.mean())}
        about: dict[str, tuple[Unit, Better | None]] = {"clip_score_cut_share": ("fraction", "lower")}
        return CaptionScores(corpus, {"clip_score": per_item}, model=self.scorer.describe(), about=about)

"""How long captions are, in words between blanks: CIDEr punishes every word more or less than the reference's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diptych.contracts.news import CaptionItem
from diptych.contracts.retrieval import Better, Unit
from diptych.metrics.captions.caption_metric import CaptionMetric
from diptych.metrics.captions.caption_scores import CaptionScores


def length(
    predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Lengths of the corpus, and `words` and `length_ratio` of each item (N,).

    `mean_words`, `median_words`, `empty_captions` (how many have no word) and `empty_caption_share` tell of the
    predictions, `mean_reference_words` of all references. An item's `length_ratio` is its words over its references'
    mean, the corpus' the predictions' mean words over the mean of the items' references: 1 is as long as the
    references. NaN without references.

    Raises:
        ValueError: there is nothing to score, or the numbers of items differ.
    """
    if not len(predictions) or len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions and references for {len(references)} items; give one each")
    words = np.array([len(text.split()) for text in predictions], dtype=float)
    of_references = [[len(text.split()) for text in of_item] for of_item in references]
    expected = np.array([np.mean(lengths) if lengths else np.nan for lengths in of_references])
    lengths = [number for of_item in of_references for number in of_item]
    applies = expected > 0
    ratio = np.divide(words, expected, out=np.full(len(words), np.nan), where=applies)
    corpus = {
        "mean_words": float(words.mean()),
        "median_words": float(np.median(words)),
        "mean_reference_words": float(np.mean(lengths)) if lengths else float("nan"),
        "length_ratio": float(words[applies].mean() / expected[applies].mean()) if applies.any() else float("nan"),
        "empty_captions": float((words == 0).sum()),
        "empty_caption_share": float((words == 0).mean()),
    }
    return corpus, {"words": words, "length_ratio": ratio}


_ABOUT: dict[str, tuple[Unit, Better | None]] = {
    "mean_words": ("count", None),
    "median_words": ("count", None),
    "mean_reference_words": ("count", None),
    "length_ratio": ("score", None),  # best at 1
    "empty_captions": ("count", "lower"),
    "empty_caption_share": ("fraction", "lower"),
}


class Length(CaptionMetric):
    """`length` over all captions of all processes."""

    def score(self, items: Sequence[CaptionItem]) -> CaptionScores:
        """The corpus' values and those of the items."""
        scores = length([item.caption for item in items], [item.reference_captions for item in items])
        return CaptionScores(*scores, about=_ABOUT)

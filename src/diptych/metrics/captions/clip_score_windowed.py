"""CLIPScore of captions longer than CLIP reads: the mean over windows that together hold every word.

This is our own measure, not the published one: a caption that fits has the same value by both, a longer one has not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from diptych.contracts.news import CaptionItem
from diptych.contracts.retrieval import Better, Unit
from diptych.metrics.captions.caption_metric import CaptionMetric
from diptych.metrics.captions.caption_scores import CaptionScores
from diptych.metrics.captions.clip_scorer import ClipScorer, clip_scores
from diptych.metrics.captions.item_checks import require_images

# Where a window may end early. "U.S. " is no end of a sentence, but a window may end there as well as at any word.
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’)]*\s+")


def clip_score_windowed(items: Sequence[CaptionItem], scorer: ClipScorer) -> tuple[float, np.ndarray, np.ndarray]:
    """The score of the corpus, of each item (N,), and the number of windows (N,); the first is the second's mean.

    An item's score is the mean of the CLIPScores of its windows (see `windows`), each read as a caption of its own.

    Raises:
        ValueError: items have no photo, which are listed, or as `ClipScorer`.
    """
    require_images(items, "clip_score_windowed")
    parts = [windows(item.caption, scorer.fits) for item in items]
    numbers = np.array([len(of_item) for of_item in parts])
    texts = scorer.text_features([text for of_item in parts for text in of_item])
    scores = clip_scores(np.repeat(scorer.image_features(items), numbers, axis=0), texts)
    per_item = np.add.reduceat(scores, np.cumsum(numbers) - numbers) / numbers
    return float(per_item.mean()), per_item, numbers


def windows(text: str, fits: Callable[[str], bool]) -> list[str]:
    """The text in as few pieces as fill up in turn with whole sentences, or whole words of a sentence that is too long
    by itself; a text that fits is one piece, unchanged. A single word that does not fit stays one piece.
    """
    if fits(text):
        return [text]
    pieces: list[str] = []
    for sentence in _sentences(text):
        for part in [sentence] if fits(sentence) else sentence.split():
            joined = f"{pieces[-1]} {part}" if pieces else part
            if pieces and fits(joined):
                pieces[-1] = joined
            else:
                pieces.append(part)
    return pieces


def _sentences(text: str) -> list[str]:
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    pieces = (text[start:end].strip() for start, end in zip([0, *ends], [*ends, len(text)], strict=True))
    return [piece for piece in pieces if piece]


class CLIPScoreWindowed(CaptionMetric):
    """`clip_score_windowed` over all captions of all processes; `clip_score_windows` is the mean number of windows."""

    def __init__(self, scorer: ClipScorer, local: bool = True) -> None:
        super().__init__(local)
        self.scorer = scorer

    def score(self, items: Sequence[CaptionItem]) -> CaptionScores:
        """The corpus' value and those of the items."""
        value, per_item, numbers = clip_score_windowed(items, self.scorer)
        corpus = {"clip_score_windowed": value, "clip_score_windows": float(numbers.mean())}
        about: dict[str, tuple[Unit, Better | None]] = {"clip_score_windows": ("count", None)}
        return CaptionScores(corpus, {"clip_score_windowed": per_item}, model=self.scorer.describe(), about=about)

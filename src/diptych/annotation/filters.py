"""What keeps poor texts and pairs out: each filter is switched on by being there, and counts under its own reason.

Shape letters: N texts, E embedding width.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from diptych.annotation.image_mentions import image_mention
from diptych.contracts.models import PhotoEncoder

_WORD = re.compile(r"\w+")
_JOINING = frozenset(("and", "also"))


class ForbiddenPhrases:
    """Refuses texts that hold one of the phrases as whole words, whatever their case, or speak of the images."""

    reason = "forbidden"

    def __init__(self, phrases: Sequence[str] = ()) -> None:
        if any(not phrase.strip() for phrase in phrases):
            raise ValueError(f"phrases={list(phrases)} holds a blank phrase, which every text would match")
        alternatives = "|".join(r"\s+".join(map(re.escape, phrase.split())) for phrase in phrases)
        self._phrases = re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)", re.IGNORECASE) if phrases else None

    def refuses(self, text: str, kept: Sequence[str]) -> bool:
        """Whether the text holds what is forbidden."""
        return bool(image_mention(text) or (self._phrases and self._phrases.search(text)))


class TextLength:
    """Refuses texts of fewer than `min_words` or more than `max_words` words."""

    reason = "length"

    def __init__(self, min_words: int = 3, max_words: int = 60) -> None:
        if not 0 <= min_words <= max_words:
            raise ValueError(f"min_words={min_words} must be from 0 to max_words={max_words}")
        self.min_words, self.max_words = min_words, max_words

    def refuses(self, text: str, kept: Sequence[str]) -> bool:
        """Whether the text is too short or too long."""
        return not self.min_words <= len(_WORD.findall(text)) <= self.max_words


class Diversity:
    """Refuses texts that share more than `max_overlap` of their words (Jaccard, of different words, without those that
    join sentences) with one that is kept: other orders of the same sentences among them.
    """

    reason = "near_equal"

    def __init__(self, max_overlap: float = 0.9) -> None:
        if not 0 < max_overlap <= 1:
            raise ValueError(f"max_overlap={max_overlap} must be above 0 and at most 1")
        self.max_overlap = max_overlap

    def refuses(self, text: str, kept: Sequence[str]) -> bool:
        """Whether a kept text is nearly the same."""
        words = _words(text)
        return any(_overlap(words, _words(other)) > self.max_overlap for other in kept)


class Agreement:
    """What an image-text encoder says of pairs and texts.

    A pair whose pictures are more similar than `max_image_similarity` is `near_identical`; a text must be nearer to
    the target than to the reference by `margin`, all by cosine. None switches either off.

    Raises:
        ValueError: both are off, or a value is no difference of cosines.
    """

    NEAR_IDENTICAL, DISAGREES = "near_identical", "disagrees"

    def __init__(self, margin: float | None = 0.0, max_image_similarity: float | None = 0.98) -> None:
        if margin is None and max_image_similarity is None:
            raise ValueError("margin=null and max_image_similarity=null: leave the stage out")
        for name, value in (("margin", margin), ("max_image_similarity", max_image_similarity)):
            if value is not None and not -2 <= value <= 2:
                raise ValueError(f"{name}={value} is no cosine; want a number from -1 to 1")
        self.margin, self.max_image_similarity = margin, max_image_similarity

    def near_identical(self, reference: Tensor, target: Tensor) -> bool:
        """Whether two pictures' embeddings (E,) are too similar."""
        return self.max_image_similarity is not None and float(reference @ target) > self.max_image_similarity

    def agreeing(self, encoder: PhotoEncoder, texts: Sequence[str], reference: Tensor, target: Tensor) -> list[bool]:
        """For each text whether it is nearer to the target's embedding (E,) than to the reference's."""
        if self.margin is None or not texts:
            return [True] * len(texts)
        embeddings = encoder.embed_texts(texts)  # (N, E)
        with torch.autocast(embeddings.device.type, enabled=False):
            gains = embeddings.float() @ (target - reference).float().to(embeddings.device)
        return (gains >= self.margin).tolist()


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower())) - _JOINING


def _overlap(words: frozenset[str], others: frozenset[str]) -> float:
    return len(words & others) / max(len(words | others), 1)

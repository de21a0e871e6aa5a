"""ROUGE-L (Lin, 2004) as COCO's caption evaluation computes it: longest common subsequences, recall counting more."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from diptych.metrics.captions.caption_corpus import CaptionCorpus

_BETA = 1.2


def rouge_l(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, np.ndarray]:
    """ROUGE-L of the corpus, and of each item (N,); the first is the mean of the second. From 0 to 1.

    The precision of an item is its best over the references, and so is its recall: they may come from two references.

    Raises:
        ValueError: as `CaptionCorpus`.
    """
    return score_rouge_l(CaptionCorpus(predictions, references))


def score_rouge_l(corpus: CaptionCorpus) -> tuple[float, np.ndarray]:
    """`rouge_l` of captions that are tokenised already."""
    pairs = zip(corpus.predictions, corpus.references, strict=True)
    per_item = np.array([_item(prediction, references) for prediction, references in pairs])
    return float(per_item.mean()), per_item


def common_subsequence_length(tokens: Sequence[int], positions: dict[int, int], num_positions: int) -> int:
    """Length of the longest common subsequence of `tokens` and a text of `num_positions` tokens, given by bits.

    `positions` holds for each token of that text the number whose bits are set where the token stands (`bits_of`).
    One addition does a whole row of the usual table (Hyyrö, 2004): a bit is cleared where the row's value grows.
    """
    unchanged = full = (1 << num_positions) - 1
    for token in tokens:
        here = positions.get(token)
        if here is not None:
            overlap = unchanged & here
            unchanged = ((unchanged + overlap) | (unchanged - overlap)) & full
    return num_positions - unchanged.bit_count()


def bits_of(tokens: Sequence[int]) -> dict[int, int]:
    """For each distinct token the number whose bits are set at its positions."""
    positions: dict[int, int] = {}
    for position, token in enumerate(tokens):
        positions[token] = positions.get(token, 0) | 1 << position
    return positions


def _item(prediction: Sequence[int], references: Sequence[Sequence[int]]) -> float:
    if not prediction:
        # COCO's evaluation reads a text without tokens as one empty token, which another such text matches.
        return 0.0 if all(references) else 1.0
    positions, length = bits_of(prediction), len(prediction)
    longest, recall = 0, 0.0
    for reference in references:
        if reference:
            common = common_subsequence_length(reference, positions, length)
            longest = max(longest, common)
            recall = max(recall, common / len(reference))
    precision = longest / length
    if not precision:
        return 0.0
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def __getattr__(name: str) -> Any:
    """`RougeL`, the metric as a class, whose torchmetrics takes seconds to import: only whoever asks for it waits."""
    if name != "RougeL":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("diptych.metrics.captions.ngram_metrics").RougeL

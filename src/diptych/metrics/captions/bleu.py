"""BLEU-1 to BLEU-4 of a corpus (Papineni et al., ACL 2002), with the closest reference length, as COCO's evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from diptych.metrics.captions.caption_corpus import MAX_ORDER, CaptionCorpus

# What COCO's evaluation adds to matches and to n-grams: without a match, a score is tiny and not zero.
_TINY = 1e-15
_SMALL = 1e-9


def bleu(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """`bleu_1` to `bleu_4` of the corpus: matches, n-grams and lengths are summed over the items first.

    Of the references' lengths the one closest to the prediction's counts, of two equally close ones the shorter.

    Raises:
        ValueError: as `CaptionCorpus`.
    """
    return score_bleu(CaptionCorpus(predictions, references))[0]


def score_bleu(corpus: CaptionCorpus) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """`bleu` of captions that are tokenised already, and the same of every item by itself (N,).

    The corpus' values are not the means of the items'.
    """
    length = corpus.lengths[: len(corpus)]
    reference_length = _closest_lengths(corpus)
    matches = np.stack([_matches(corpus, order) for order in range(MAX_ORDER)])
    ngrams = np.stack([np.maximum(length - order, 0) for order in range(MAX_ORDER)])
    whole = _combine(matches.sum(1), ngrams.sum(1), length.sum(), reference_length.sum())
    per_item = _combine(matches, ngrams, length, reference_length)
    names = [f"bleu_{order}" for order in range(1, MAX_ORDER + 1)]
    return {name: float(value) for name, value in zip(names, whole, strict=True)}, dict(
        zip(names, per_item, strict=True)
    )


def _matches(corpus: CaptionCorpus, order: int) -> np.ndarray:
    """N-grams of each prediction (N,) found in a reference, each at most as often as in one of them."""
    counts = corpus.ngram_counts[order]
    allowed = np.zeros_like(counts.count)
    shared = counts.match >= 0
    np.maximum.at(allowed, counts.match[shared], counts.reference_count[shared])
    found: np.ndarray = np.bincount(counts.item, np.minimum(counts.count, allowed), minlength=len(corpus))
    return found


def _closest_lengths(corpus: CaptionCorpus) -> np.ndarray:
    """For each item (N,) the length of the reference that is closest in length to the prediction."""
    length = corpus.lengths[: len(corpus)][corpus.item_of_reference]
    of_reference = corpus.lengths[len(corpus) :]
    order = np.lexsort((of_reference, np.abs(of_reference - length), corpus.item_of_reference))
    first = np.cumsum(corpus.num_references) - corpus.num_references
    closest: np.ndarray = of_reference[order[first]]
    return closest


def _combine(matches: np.ndarray, ngrams: np.ndarray, length: np.ndarray, reference_length: np.ndarray) -> np.ndarray:
    """Geometric means of the precisions of orders up to 1, 2, 3, 4 (4, ...), with the penalty for short texts."""
    precision = np.cumprod((matches + _TINY) / (ngrams + _SMALL), axis=0)
    exponent = 1 / np.arange(1, MAX_ORDER + 1).reshape(-1, *[1] * (precision.ndim - 1))
    ratio = (length + _TINY) / (reference_length + _SMALL)
    bleu: np.ndarray = precision**exponent * np.where(ratio < 1, np.exp(1 - 1 / np.minimum(ratio, 1)), 1.0)
    return bleu


def __getattr__(name: str) -> Any:
    """`BLEU`, the metric as a class, whose torchmetrics takes seconds to import: only whoever asks for it waits."""
    if name != "BLEU":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("diptych.metrics.captions.ngram_metrics").BLEU

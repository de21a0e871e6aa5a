"""CIDEr as the COCO caption evaluation computes it, which is CIDEr-D (Vedantam et al., CVPR 2015, section 8).

Captions are compared by their n-grams of 1 to 4 tokens, each weighted by how rare it is among the references of the
items scored. A value therefore belongs to its set of items: values of subsets, and means over batches, are no CIDEr.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from diptych.metrics.captions.caption_corpus import CaptionCorpus, NgramCounts

SIGMA = 6.0
SCALE = 10.0


def cider(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, np.ndarray]:
    """CIDEr of the corpus, and of each item (N,); the first is the mean of the second. From 0 to 10.

    Document frequencies are counted over the references of the items given, never over the predictions.

    Raises:
        ValueError: there are fewer than two items, or as `CaptionCorpus`.
    """
    return score_cider(CaptionCorpus(predictions, references))


def score_cider(corpus: CaptionCorpus) -> tuple[float, np.ndarray]:
    """`cider` of captions that are tokenised already."""
    similarity = cider_similarities(corpus)
    # The length penalty counts bigrams, not tokens: texts of no and of one token are equally long.
    bigrams = np.maximum(corpus.lengths - 1, 0)
    difference = bigrams[: len(corpus)][corpus.item_of_reference] - bigrams[len(corpus) :]
    similarity = similarity * np.exp(-(difference**2) / (2 * SIGMA**2))
    total = np.bincount(corpus.item_of_reference, similarity, minlength=len(corpus))
    per_item = SCALE * total / corpus.num_references
    return float(per_item.mean()), per_item


def cider_similarities(corpus: CaptionCorpus) -> np.ndarray:
    """How alike each reference and its item's prediction are (R,), from 0 to 1: the clipped cosine, its mean over
    n-grams of 1 to 4 tokens, before penalties. Raises ValueError for fewer than two items.
    """
    if len(corpus) < 2:
        raise ValueError(
            "CIDEr of one item is not defined: it weights n-grams by how few of the items' references contain them, so "
            "over one item every weight, and with it the score, is 0; score at least two items together"
        )
    similarities: np.ndarray = np.mean([_similarity(corpus, counts) for counts in corpus.ngram_counts], axis=0)
    return similarities


def _similarity(corpus: CaptionCorpus, counts: NgramCounts) -> np.ndarray:
    """Clipped cosine (R,) of every reference and its item's prediction for n-grams of one order."""
    item_of_row = corpus.item_of_reference[counts.reference]
    rarity = np.log(len(corpus)) - np.log(np.maximum(_document_frequency(item_of_row, counts), 1))
    weight = counts.count * rarity[counts.ngram]
    reference_weight = counts.reference_count * rarity[counts.reference_ngram]
    norm = np.sqrt(np.bincount(counts.item, weight**2, minlength=len(corpus)))[corpus.item_of_reference]
    num_references = len(corpus.item_of_reference)
    norm *= np.sqrt(np.bincount(counts.reference, reference_weight**2, minlength=num_references))
    shared = counts.match >= 0
    of_reference = reference_weight[shared]
    products = np.minimum(weight[counts.match[shared]], of_reference) * of_reference
    product = np.bincount(counts.reference[shared], products, minlength=num_references)
    return np.divide(product, norm, out=np.zeros(num_references), where=norm > 0)


def _document_frequency(item: np.ndarray, counts: NgramCounts) -> np.ndarray:
    """For each n-gram (num_ngrams,): how many items have it in one of their references."""
    size = max(counts.num_ngrams, 1)
    pairs = np.sort(item * size + counts.reference_ngram)
    first = np.diff(pairs, prepend=-1) > 0
    return np.bincount(pairs[first] % size, minlength=counts.num_ngrams)


def __getattr__(name: str) -> Any:
    """`CIDEr`, the metric as a class, whose torchmetrics takes seconds to import: only whoever asks for it waits."""
    if name != "CIDEr":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("diptych.metrics.captions.ngram_metrics").CIDEr

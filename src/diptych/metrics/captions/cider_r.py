"""CIDEr-R (Oliveira dos Santos, Colombini and Avila, W-NUT 2021): CIDEr-D with penalties that long captions survive.

CIDEr-D multiplies the similarity of a caption and a reference by exp(-d^2 / (2 * 6^2)), d their difference in length:
10 words off cost three quarters of the score, whether the reference has 10 words or 100. CIDEr-R multiplies by

    repetition^0.8 * length^0.2,    length = exp(-d^2 / r^2),

r the reference's length, and repetition the geometric mean over the caption's distinct words w of 1 / (1 + |a - b|),
where w stands a times in the caption and b times in the reference, or of 1 / a if the reference lacks it. So a word
that is said again and again costs, however long the caption is.

Constants and details after the authors' code (gabrielsantosrv/coco-caption, pycocoevalcap/ciderR, commit 7c15d40):
lengths count bigrams, and words are what is left of the tokens without signs ("u.s." is two).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from diptych.metrics.captions.caption_corpus import CaptionCorpus
from diptych.metrics.captions.cider import SCALE, cider_similarities

_REPETITION, _LENGTH = 0.8, 0.2
_WORD = re.compile(r"\w+")


def cider_r(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, np.ndarray]:
    """CIDEr-R of the corpus, and of each item (N,); the first is the mean of the second. From 0 to 10.

    Document frequencies are counted over the references of the items given, as in CIDEr. A caption without words has
    the score 0; against a reference of at most one word, one as short has the length penalty 1, any other 0 (the
    authors' code stops there).

    Raises:
        ValueError: as `cider`.
    """
    return score_cider_r(CaptionCorpus(predictions, references))


def score_cider_r(corpus: CaptionCorpus) -> tuple[float, np.ndarray]:
    """`cider_r` of captions that are tokenised already."""
    similarity = cider_similarities(corpus)
    item, num_items = corpus.item_of_reference, len(corpus)
    bigrams = np.maximum(corpus.lengths - 1, 0).astype(float)
    of_caption, of_reference = bigrams[:num_items][item], bigrams[num_items:]
    difference = (of_caption - of_reference) ** 2
    exponent = np.divide(difference, of_reference**2, out=np.where(difference > 0, np.inf, 0), where=of_reference > 0)
    similarity = similarity * np.exp(-exponent) ** _LENGTH * _repetition(corpus) ** _REPETITION
    per_item = SCALE * np.bincount(item, similarity, minlength=num_items) / corpus.num_references
    return float(per_item.mean()), per_item


def _repetition(corpus: CaptionCorpus) -> np.ndarray:
    """The penalty for repeated words (R,), of each reference and its item's caption."""
    words_of_token = [_WORD.findall(token) for token in corpus.vocabulary]
    counts = [Counter(word for token in text for word in words_of_token[token]) for text in corpus.words]
    penalties = np.ones(len(corpus.item_of_reference))
    for number, item in enumerate(corpus.item_of_reference):
        caption, reference = counts[item], counts[len(corpus) + number]
        if caption:
            terms = [1 + abs(count - (reference[word] or 1)) for word, count in caption.items()]
            penalties[number] = np.exp(-np.log(terms).mean())
    return penalties


def __getattr__(name: str) -> Any:
    """`CIDErR`, the metric as a class, whose torchmetrics takes seconds to import: only whoever asks for it waits."""
    if name != "CIDErR":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("diptych.metrics.captions.ngram_metrics").CIDErR

"""Predictions and their reference captions as numbers: tokens, then n-gram counts, made once for all n-gram metrics.

Shape letters: N items, T texts (the N predictions, then all references in the items' order), R references in all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np

from diptych.contracts.news import CaptionItem
from diptych.metrics.captions.item_checks import require_references
from diptych.metrics.captions.ptb_tokenizer import tokenize

MAX_ORDER = 4


@dataclass(frozen=True)
class NgramCounts:
    """How often each n-gram of one order stands in each text. One row per (text, n-gram), sorted by both.

    Predictions: `item`, `ngram`, `count`. References: `reference` (0 to R - 1), `reference_ngram`, `reference_count`,
    and `match`, the prediction row with the same item and n-gram, -1 where the prediction lacks it. N-grams are
    numbered from 0 to `num_ngrams` - 1.
    """

    num_ngrams: int
    item: np.ndarray
    ngram: np.ndarray
    count: np.ndarray
    reference: np.ndarray
    reference_ngram: np.ndarray
    reference_count: np.ndarray
    match: np.ndarray


class CaptionCorpus:
    """The captions of N items, tokenised: the predictions as one corpus and the references as another, item by item.

    `predictions` and `references` hold token numbers, the references of an item as one list; `num_references` (N,)
    counts them and `item_of_reference` (R,) says whose they are. `vocabulary` has the tokens by number. Lengths and
    n-grams are those of `words` (T): COCO's evaluation cuts tokens that hold a blank (telephone numbers, "2 1/2") for
    CIDEr and BLEU, not for ROUGE-L.

    Raises:
        ValueError: there is nothing to score, the numbers of items differ, an item has no reference, or a caption is
            not a text; names the item.
    """

    def __init__(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
        _check(predictions, references)
        numbers: dict[str, int] = {}
        self.words: list[list[int]] = []

        def numbered(texts: Sequence[str]) -> Iterator[list[int]]:
            for found in tokenize(texts):
                tokens = words = [numbers.setdefault(token, len(numbers)) for token in found]
                if len(cut := " ".join(found).split()) > len(found):
                    words = [numbers.setdefault(word, len(numbers)) for word in cut]
                self.words.append(words)
                yield tokens

        self.predictions = list(numbered(predictions))
        of_references = numbered(list(chain.from_iterable(references)))
        self.references = [[next(of_references) for _ in of_item] for of_item in references]
        self.vocabulary = list(numbers)
        self.vocabulary_size = len(numbers)
        self.num_references = np.array([len(of_item) for of_item in self.references])
        self.item_of_reference = np.repeat(np.arange(len(self.predictions)), self.num_references)

    @classmethod
    def of(cls, items: Sequence[CaptionItem]) -> CaptionCorpus:
        """The items' captions. Raises ValueError naming the items without reference captions."""
        require_references(items, "comparing captions with references")
        return cls([item.caption for item in items], [item.reference_captions for item in items])

    def __len__(self) -> int:
        return len(self.predictions)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Words of each text (T,)."""
        return np.array([len(words) for words in self.words])

    @cached_property
    def ngram_counts(self) -> tuple[NgramCounts, ...]:
        """The counts of orders 1 to 4."""
        tokens = np.fromiter(chain.from_iterable(self.words), np.int64, self.lengths.sum())
        text = np.repeat(np.arange(len(self.lengths)), self.lengths)
        remaining = np.repeat(np.cumsum(self.lengths), self.lengths) - np.arange(len(tokens))
        start = np.arange(len(tokens))
        ngram, num_ngrams = tokens, self.vocabulary_size
        orders = []
        for order in range(1, MAX_ORDER + 1):
            if order > 1:
                # The n-grams that another token of the same text follows, and that token, numbered anew: stays small.
                longer = remaining[start] >= order
                start = start[longer]
                pairs = ngram[longer] * self.vocabulary_size + tokens[start + order - 1]
                distinct, ngram = np.unique(pairs, return_inverse=True)
                num_ngrams = len(distinct)
            orders.append(self._count(text[start], ngram, num_ngrams))
        return tuple(orders)

    def _count(self, text: np.ndarray, ngram: np.ndarray, num_ngrams: int) -> NgramCounts:
        size = max(num_ngrams, 1)
        rows, count = _runs(np.sort(text * size + ngram))
        text, ngram = np.divmod(rows, size)
        split = np.searchsorted(text, len(self))  # the first row of a reference
        reference, reference_ngram = text[split:] - len(self), ngram[split:]
        wanted = self.item_of_reference[reference] * size + reference_ngram
        match = np.searchsorted(rows[:split], wanted)
        found = match < split
        found[found] = rows[match[found]] == wanted[found]
        match[~found] = -1
        compact = (array.astype(np.int32) for array in (text[:split], ngram[:split], count[:split]))
        of_references = (array.astype(np.int32) for array in (reference, reference_ngram, count[split:], match))
        return NgramCounts(num_ngrams, *compact, *of_references)


def _runs(ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values of a sorted array, and how often each occurs."""
    first = np.flatnonzero(np.diff(ordered, prepend=-1))
    return ordered[first], np.diff(first, append=len(ordered))


def _check(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    if isinstance(predictions, str) or isinstance(references, str):
        raise ValueError("predictions must be a list of texts and references a list of lists of texts, not one text")
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions but references for {len(references)} items; give one each")
    if not len(predictions):
        raise ValueError("there are no predictions to score")
    for item, (prediction, of_item) in enumerate(zip(predictions, references, strict=True)):
        if not isinstance(prediction, str):
            raise ValueError(f"prediction of item {item}: expected a text, found {prediction!r:.80}")
        if isinstance(of_item, str):
            raise ValueError(f"references of item {item}: expected a list of texts, found one text; put it in a list")
        if not len(of_item):
            raise ValueError(f"item {item} has no reference caption; leave the item out or give it one")
        for reference in of_item:
            if not isinstance(reference, str):
                raise ValueError(f"references of item {item}: expected texts, found {reference!r:.80}")

"""METEOR 1.5 for English (Denkowski and Lavie, WMT 2014) as COCO's caption evaluation runs it, without its Java.

A caption and a reference are aligned (`meteor_alignment`); with P and R the shares of the caption's and the reference's
words in matches, where a match weighs as its stage does and a function word a third of another,

    F = 1 / ((1 - 0.85) / P + 0.85 / R),    score = F * (1 - 0.6 * (chunks / matches)^0.2).

An item has the score of its best reference. That of the corpus is computed from the sums over the items.

Parameters of task "rank" for English, edu.cmu.meteor.util.Constants in meteor-1.5.jar.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track

from diptych.contracts.news import CaptionItem
from diptych.metrics.captions.caption_metric import CaptionMetric
from diptych.metrics.captions.caption_scores import CaptionScores
from diptych.metrics.captions.item_checks import require_references
from diptych.metrics.captions.meteor_alignment import STAGES, MatchedText, align, count_chunks, java_hash, stem_hash
from diptych.metrics.captions.meteor_resources import LONGEST_PHRASE, MeteorResources
from diptych.metrics.captions.meteor_words import meteor_words
from diptych.metrics.captions.ptb_tokenizer import tokenize

_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_WEIGHTS = (1.0, 0.6, 0.8, 0.6)  # by stage


def meteor(
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    resources: MeteorResources | None = None,
    stages: Sequence[str] = STAGES,
) -> tuple[float, np.ndarray]:
    """METEOR of the corpus, by its own sums over the items and not as their mean, and of each item (N,). From 0 to 1.

    The published metric has all `stages`; the first ones alone give another one, the same as the authors' program with
    fewer modules.

    Raises:
        ValueError: the `resources` (those of pycocoevalcap) are not there, the stages are not the first ones of
            exact, stem, synonym, paraphrase, there is nothing to score, or an item has no reference.
    """
    resources = resources or MeteorResources()
    _check_stages(stages)
    resources.require(stages)
    if not len(predictions) or len(predictions) != len(references) or not all(references):
        raise ValueError(f"{len(predictions)} predictions, references for {len(references)} items; each needs one")
    given = tokenize(predictions)
    reader = _Reader(resources, len(stages), [*given, *tokenize([text for texts in references for text in texts])])
    console, first, best = Console(stderr=True), len(predictions), []
    items = track(references, "METEOR", console=console, transient=True, disable=not console.is_terminal)
    for item, of_item in enumerate(items):
        caption, following = reader.text(item), first + len(of_item)
        counts = [_counts(caption, reader.text(number), len(stages)) for number in range(first, following)]
        best.append(max(counts, key=_score))
        first = following
    words = np.sum([counts.words for counts in best], axis=0)
    corpus = _Counts(words, sum(0 if _same(counts) else counts.chunks for counts in best))
    return _score(corpus), np.array([_score(counts) for counts in best])


class _Reader:
    """What the stages compare of each text of a corpus, given as the tokens of each."""

    def __init__(self, resources: MeteorResources, num_stages: int, tokens: Sequence[Sequence[str]]) -> None:
        self._resources, self._synonyms = resources, num_stages > STAGES.index("synonym")
        self._words = [meteor_words(" ".join(of_text), resources.abbreviations) for of_text in tokens]
        self._paraphrases: dict[str, list[str]] = {}
        if num_stages > STAGES.index("paraphrase"):
            phrases = (phrase for words in self._words for _, _, phrase in _phrases(words))
            self._paraphrases = resources.paraphrases(phrases)
        self._matched = {phrase for phrases in self._paraphrases.values() for phrase in phrases}
        self._synsets: dict[str, frozenset[str]] = {}

    def text(self, number: int) -> tuple[MatchedText, list[int]]:
        """A text, and which of its words are function words (1) and which are not (0)."""
        words = self._words[number]
        starts: dict[str, list[int]] = {}
        paraphrases: list[list[tuple[int, list[str]]]] = [[] for _ in words]
        for start, length, phrase in _phrases(words) if self._paraphrases else ():
            if phrase in self._matched:
                starts.setdefault(phrase, []).append(start)
            if phrase in self._paraphrases:
                paraphrases[start].append((length, self._paraphrases[phrase]))
        keys, stems = [java_hash(word) for word in words], [stem_hash(word) for word in words]
        synsets = [self._synsets_of(word) for word in words] if self._synonyms else []
        kinds = [int(word in self._resources.function_words) for word in words]
        return MatchedText(keys, stems, synsets, starts, paraphrases), kinds

    def _synsets_of(self, word: str) -> frozenset[str]:
        if word not in self._synsets:
            self._synsets[word] = self._resources.synsets(word)
        return self._synsets[word]


def _phrases(words: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Start, length and text of what may stand in the table of paraphrases, at each start the shorter ones first."""
    for start in range(len(words)):
        for length in range(1, min(LONGEST_PHRASE, len(words) - start) + 1):
            yield start, length, " ".join(words[start : start + length])


class _Counts(NamedTuple):
    """Words (2, 2, 1 + stages) of caption and reference, content and function words, in all and in matches of each
    stage; and the number of chunks.
    """

    words: np.ndarray
    chunks: int


def _counts(
    caption: tuple[MatchedText, list[int]], reference: tuple[MatchedText, list[int]], num_stages: int
) -> _Counts:
    (text, kinds), (other, other_kinds) = caption, reference
    matches = align(text, other, num_stages)
    words = np.zeros((2, 2, 1 + num_stages), dtype=int)
    for side, of_side in enumerate((kinds, other_kinds)):
        words[side, :, 0] = len(of_side) - sum(of_side), sum(of_side)
    for match in matches:
        for kind in kinds[match.caption_start : match.caption_start + match.caption_length]:
            words[0, kind, 1 + match.stage] += 1
        for kind in other_kinds[match.start : match.start + match.length]:
            words[1, kind, 1 + match.stage] += 1
    return _Counts(words, count_chunks(matches))


def _same(counts: _Counts) -> bool:
    """Whether every word is matched and all are one chunk: no penalty, and no chunk for the corpus to pay for."""
    return counts.chunks == 1 and bool((counts.words[..., 0].sum(1) == counts.words[..., 1:].sum((1, 2))).all())


def _score(counts: _Counts) -> float:
    matches = int(counts.words[..., 1:].sum()) / 2
    if not matches:
        return 0.0
    precision, recall = map(_weighted_share, counts.words.tolist())
    mean = 1 / ((1 - _ALPHA) / precision + _ALPHA / recall)
    fragmentation = 0.0 if _same(counts) else counts.chunks / matches
    return float(mean * (1 - _GAMMA * fragmentation**_BETA))


def _weighted_share(words: Sequence[Sequence[int]]) -> float:
    """The share of the words in matches, content and function words, added up in the order of the authors' program:
    of references that are equally good it takes the first, and the last digit may tell.
    """
    (content, *in_content), (function, *in_function) = words
    matched = 0.0
    for kind, numbers in ((_DELTA, in_content), (1 - _DELTA, in_function)):
        for number, weight in zip(numbers, _WEIGHTS, strict=False):
            matched += number * weight * kind
    return matched / (_DELTA * content + (1 - _DELTA) * function)


def _check_stages(stages: Sequence[str]) -> None:
    if not stages or tuple(stages) != STAGES[: len(stages)]:
        raise ValueError(
            f"stages={list(stages)}: METEOR's stages build on one another, so give the first of {list(STAGES)}"
        )


class METEOR(CaptionMetric):
    """`meteor` over all captions of all processes, with all stages as published; with fewer it is another metric and
    has another name, such as `meteor_exact_stem`. `folder` is as in `MeteorResources`.

    Raises ValueError when built where it cannot run.
    """

    def __init__(self, stages: Sequence[str] = STAGES, folder: str | None = None, local: bool = True) -> None:
        super().__init__(local)
        _check_stages(stages)
        self.stages = tuple(stages)
        self.resources = MeteorResources(folder)
        self.resources.require(self.stages)

    def score(self, items: Sequence[CaptionItem]) -> CaptionScores:
        """The corpus' value and those of the items."""
        name = "meteor" if self.stages == STAGES else f"meteor_{'_'.join(self.stages)}"
        require_references(items, name)
        predictions, references = [item.caption for item in items], [item.reference_captions for item in items]
        value, per_item = meteor(predictions, references, self.resources, self.stages)
        return CaptionScores({name: value}, {name: per_item})

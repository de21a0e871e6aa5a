"""Sentences to training texts: permutations of a few sentences of a pair, joined in varied ways.

What is drawn depends on the seed, the pair's id and its sentences alone, not on the order in which pairs come.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from diptych.annotation.opposition import conflict
from diptych.contracts.models import Preprocessing

TOO_LONG, OVER_LIMIT = "too_long", "over_limit"

Parts = tuple[int, ...]  # the positions of a text's sentences, in its order

_JOINTS = (". ", ", and ", "; also ")
_END = re.compile(r"[.!?]+[\"”')\]]*$")
_LOOSE_END = re.compile(r"[\s.,;:!?]+$")
_CAPITALISED = re.compile(r"(?<=[^.!?\s] )[A-Z][a-z]+")  # in the middle of a sentence: names


class Combiner(Protocol):
    """Makes a pair's texts of its sentences."""

    def combine(
        self, pair_id: str, sentences: Sequence[str], tokens: TokenLimit, filters: Iterable[TextFilter] = ()
    ) -> CombinedTexts:
        """The texts that `tokens` and the filters let pass, and what they do not."""


class TextFilter(Protocol):
    """Refuses texts, one after the other. `reason` is the word under which they are counted."""

    reason: str

    def refuses(self, text: str, kept: Sequence[str]) -> bool:
        """Whether the text is dropped, given those of the pair that were kept before."""


@dataclass(frozen=True)
class CombinedTexts:
    """The texts of a pair, for each the positions of its sentences, and how many were dropped for which reason."""

    texts: tuple[str, ...]
    parts: tuple[Parts, ...]
    dropped: Mapping[str, int] = field(default_factory=dict)


class SentenceCombiner:
    """Permutations of `min_sentences` to `max_sentences` sentences, at most `limit` texts a pair, drawn by `seed`.

    `ordered` counts every order of the same sentences as a text of its own; else they keep the order in which they were
    written. Texts with two sentences that contradict or repeat each other are dropped.

    Raises:
        ValueError: a number makes no sense.
    """

    def __init__(
        self, min_sentences: int = 1, max_sentences: int = 3, ordered: bool = True, limit: int = 20, seed: int = 0
    ) -> None:
        if not 1 <= min_sentences <= max_sentences or limit < 1:
            raise ValueError(
                f"combine: min_sentences={min_sentences}, max_sentences={max_sentences}, limit={limit}: want 1 or more,"
                " the second not below the first"
            )
        self.min_sentences, self.max_sentences = min_sentences, max_sentences
        self.ordered, self.limit, self.seed = ordered, limit, seed

    def combine(
        self, pair_id: str, sentences: Sequence[str], tokens: TokenLimit, filters: Iterable[TextFilter] = ()
    ) -> CombinedTexts:
        """The pair's texts, in the order drawn. Texts are drawn until there are enough, so that those over the limit
        are counted (`over_limit`) without a look at whether another reason would have dropped them.
        """
        clashes = {
            pair: reason
            for pair in itertools.combinations(range(len(sentences)), 2)
            if (reason := conflict(sentences[pair[0]], sentences[pair[1]]))
        }
        drawn = self._drawn(pair_id, len(sentences))
        candidates = ((parts, _varied(self.seed, pair_id, sentences, parts), _clash(parts, clashes)) for parts in drawn)
        return _kept(candidates, len(drawn), self.limit, tokens, filters)

    def _drawn(self, pair_id: str, number: int) -> list[Parts]:
        arrange = itertools.permutations if self.ordered else itertools.combinations
        lengths = range(self.min_sentences, self.max_sentences + 1)
        every = [parts for length in lengths for parts in arrange(range(number), length)]
        _random(self.seed, pair_id).shuffle(every)
        return every


class SentenceJoiner:
    """One text of all sentences of a pair, in their order; with `singles` the sentences are texts of their own, too. A
    sentence that contradicts or repeats one before it is left out of the joined text.
    """

    def __init__(self, singles: bool = False, seed: int = 0) -> None:
        self.singles, self.seed = singles, seed

    def combine(
        self, pair_id: str, sentences: Sequence[str], tokens: TokenLimit, filters: Iterable[TextFilter] = ()
    ) -> CombinedTexts:
        """The pair's texts, the joined one first."""
        parts: list[int] = []
        for number, sentence in enumerate(sentences):
            if not any(conflict(sentences[part], sentence) for part in parts):
                parts.append(number)
        whole = tuple(parts)
        every = [whole, *((number,) for number in range(len(sentences)) if self.singles and (number,) != whole)]
        candidates = ((of, _varied(self.seed, pair_id, sentences, of), None) for of in every)
        return _kept(candidates, len(every), len(every), tokens, filters)


class TokenLimit:
    """Which texts a text encoder reads whole: at most `max_tokens` tokens, start and end included.

    `preprocessing` brings the tokenizer, CLIP's for a limit of 77; what it would cut is over the limit in any case.
    """

    def __init__(self, preprocessing: Preprocessing, max_tokens: int = 77) -> None:
        self.preprocessing, self.max_tokens = preprocessing, max_tokens

    def exceeded_by(self, text: str) -> bool:
        """Whether the text has more tokens."""
        tokens = self.preprocessing.tokenize([text])
        return bool(tokens.num_truncated) or int(tokens.mask.sum()) > self.max_tokens


def leave_sentences(sentences: Sequence[str], tokens: TokenLimit, filters: Iterable[TextFilter] = ()) -> CombinedTexts:
    """Every sentence as a text of its own, in their order: what there is without combining."""
    candidates = (((number,), sentence, None) for number, sentence in enumerate(sentences))
    return _kept(candidates, len(sentences), len(sentences), tokens, filters)


def join(sentences: Sequence[str], joints: Sequence[str], names: Iterable[str] = ()) -> str:
    """One text: each of `joints` stands between two sentences. After a full stop a sentence begins with a capital,
    otherwise with a small letter, unless its first word is one of `names` or not simply capitalised. It ends as a
    sentence does.
    """
    names = frozenset(names)
    text = sentences[0].strip()
    text = text[:1].upper() + text[1:]
    for joint, sentence in zip(joints, sentences[1:], strict=True):
        sentence = sentence.strip()
        if joint.startswith("."):
            text = f"{_closed(text)} {sentence[:1].upper()}{sentence[1:]}"
            continue
        first = sentence.split(maxsplit=1)[0]
        if first[1:].islower() and first not in names:
            sentence = sentence[:1].lower() + sentence[1:]
        text = f"{_LOOSE_END.sub('', text)}{joint}{sentence}"
    return _closed(text)


def _varied(seed: int, pair_id: str, sentences: Sequence[str], parts: Parts) -> str:
    """These of the sentences as one text, joined in ways that the seed, the pair and the parts decide."""
    rng = _random(seed, pair_id, *map(str, parts))
    joints: list[str] = []
    for _ in parts[1:]:  # only full stops may come twice
        joints.append(rng.choice([joint for joint in _JOINTS if joint == _JOINTS[0] or joint not in joints]))
    return join([sentences[part] for part in parts], joints, names=_names(sentences))


def _closed(text: str) -> str:
    return text if _END.search(text) else f"{_LOOSE_END.sub('', text)}."


def _kept(
    candidates: Iterator[tuple[Parts, str, str | None]],
    number: int,
    limit: int,
    tokens: TokenLimit,
    filters: Iterable[TextFilter],
) -> CombinedTexts:
    """The first `limit` of the candidates that nothing speaks against."""
    texts: list[str] = []
    kept: list[Parts] = []
    dropped: Counter[str] = Counter()
    filters = tuple(filters)
    looked_at = 0
    while len(texts) < limit and looked_at < number:
        parts, text, reason = next(candidates)
        looked_at += 1
        if reason is None and tokens.exceeded_by(text):
            reason = TOO_LONG
        reason = reason or next((item.reason for item in filters if item.refuses(text, texts)), None)
        if reason is not None:
            dropped[reason] += 1
            continue
        texts.append(text)
        kept.append(parts)
    if looked_at < number:
        dropped[OVER_LIMIT] = number - looked_at
    return CombinedTexts(tuple(texts), tuple(kept), dict(sorted(dropped.items())))


def _clash(parts: Parts, clashes: Mapping[tuple[int, int], str]) -> str | None:
    if not clashes:
        return None
    pairs = itertools.combinations(sorted(parts), 2)
    return next((clashes[pair] for pair in pairs if pair in clashes), None)


def _names(sentences: Sequence[str]) -> frozenset[str]:
    return frozenset(word for sentence in sentences for word in _CAPITALISED.findall(sentence))


def _random(seed: int, *words: str) -> random.Random:
    digest = hashlib.sha256("\n".join([str(seed), *words]).encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))

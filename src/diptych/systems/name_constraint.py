"""Answers that name nothing but what their evidence or their base caption names: which tokens may follow.

Shape letters: B answers, V vocabulary.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from diptych.contracts.news import FusionExample, TextTokenizer
from diptych.parallel.devices import sent
from diptych.systems.token_texts import TokenTexts
from diptych.text.name_words import AllowedNames, Openers, Place, is_name, is_word_sign

# Signs that captions hold whatever their evidence does, where a tokenizer has no token for the whole of them.
_COMMON_SIGNS = frozenset("‘’“”–—…€£°")
_NOTHING, _OPENING, _BETWEEN, _WORD, _BREAK = range(5)


class _Position(NamedTuple):
    """Where an answer stands: in its text, and behind the first bytes of a sign that is not whole yet."""

    place: Place = Place()
    part: bytes = b""


class _Choice(NamedTuple):
    """The tokens that may follow: those of a `kind`, which every prompt has, and others."""

    kind: int
    tokens: list[int]


class NameConstraint:
    """Keeps the answers of a model with this `tokenizer` to the names of their prompts, by `text.name_words`: what may
    not follow gets no probability, and there is always a token that may.

    Names are a prefix tree of signs, not of one way to cut them into tokens: every way that spells an allowed name may
    be written. `ends` are the tokens that end an answer; none may while a name is not whole. What opens a sentence may
    be any word that the tokenizer holds in lower case behind a blank.

    Raises:
        ValueError: the tokenizer does not list its tokens.
    """

    def __init__(self, tokenizer: TextTokenizer, ends: Collection[int]) -> None:
        self.tokens, self.ends = TokenTexts(tokenizer), frozenset(ends)
        words = (text[1:] for text in self.tokens.of_text if text[0] == " ")
        self.openers = Openers(word for word in words if word.isalpha() and word.islower())
        self._masks: Tensor | None = None

    def paths(self, examples: Sequence[FusionExample]) -> list[NamePath]:
        """An answer's way through the allowed names for each prompt; those of equal texts share what they found out."""
        texts = [(example.evidence, example.base_caption) for example in examples]
        trees = {of_one: _NameTree(self.tokens, self.openers, of_one, self.ends, self.starts) for of_one in set(texts)}
        return [NamePath(trees[of_one]) for of_one in texts]

    def allowed(self, paths: Sequence[NamePath], logits: Tensor) -> Tensor:
        """Whether (B, V) each token may follow, where the logits are."""
        width = logits.shape[-1]
        if self._masks is None or self._masks.shape[-1] != width or self._masks.device != logits.device:
            self._masks = sent(self._by_kind(width), logits.device)
        choices = [path.choice() for path in paths]
        pairs = [(row, token) for row, choice in enumerate(choices) for token in choice.tokens if token < width]
        rows, tokens = sent(torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T, logits.device)
        allowed = self._masks[sent(torch.tensor([choice.kind for choice in choices]), logits.device)]
        allowed[rows, tokens] = True
        return allowed

    @cached_property
    def starts(self) -> dict[str, list[int]]:
        """The tokens with a capital letter or a digit, by what they hold of the first word that has one."""
        found: dict[str, list[int]] = {}
        for number, text in enumerate(self.tokens.texts):
            if text and is_name(text):
                found.setdefault(_first_name(text), []).append(number)
        return found

    def _by_kind(self, width: int) -> Tensor:
        """What may follow (kinds, V) whatever is allowed by name."""
        masks = torch.zeros(5, width, dtype=torch.bool)
        nameless = _NameTree(self.tokens, self.openers, (), self.ends, {})
        for number, text in enumerate(self.tokens.texts[:width]):
            if text is None or number in self.ends:
                continue
            goes_on = bool(text) and is_word_sign(text[0])
            if not is_name(text):
                masks[[_OPENING, _BETWEEN, _WORD], number] = True
                masks[_BREAK, number] = not goes_on
                continue
            masks[_OPENING, number] = nameless.may_follow(_Position(), number)
            between = nameless.may_follow(_Position(Place(opens=False)), number)
            masks[_BETWEEN, number] = between
            masks[[_WORD, _BREAK], number] = between and not goes_on
        return masks


class NamePath:
    """One answer on its way. `whole` counts its tokens up to where no name was begun and not finished."""

    def __init__(self, tree: _NameTree) -> None:
        self._tree, self._position = tree, _Position()
        self._written = self.whole = 0

    def choice(self) -> _Choice:
        """What may follow."""
        return self._tree.choice(self._position)

    def take(self, token: int) -> None:
        """Goes on by a token that may follow."""
        found = self._tree.moved(self._position, token)
        if found is None:
            raise ValueError("the model gives minus infinity for every token that may follow: its weights are broken")
        self._position = found
        self._written += 1
        if not found.part and self._tree.names.is_whole(found.place):
            self.whole = self._written


class _NameTree:
    """The allowed names of a prompt, walked by tokens; what may follow where is worked out once."""

    def __init__(
        self,
        tokens: TokenTexts,
        openers: Openers,
        texts: Sequence[str],
        ends: Collection[int],
        starts: dict[str, list[int]],
    ) -> None:
        self.tokens, self.ends, self.names = tokens, ends, AllowedNames(texts, openers)
        beginnings = {word[:end] for word in self.names.words for end in range(1, len(word) + 1)}
        self._starts = [token for one in sorted(beginnings & starts.keys()) for token in starts[one]]
        self._signs = sorted(self.names.signs | _COMMON_SIGNS)
        self._choices: dict[_Position, _Choice] = {}

    def choice(self, at: _Position) -> _Choice:
        """What may follow at a position."""
        if (found := self._choices.get(at)) is None:
            may_end = not at.part and self.names.is_whole(at.place)
            tokens = [token for token in dict.fromkeys(self._candidates(at)) if self.may_follow(at, token)]
            found = _Choice(self._kind(at), [*tokens, *(self.ends if may_end else ())])
            self._choices[at] = found
        return found

    def moved(self, at: _Position, token: int) -> _Position | None:
        """The position behind a token; None where it may not follow."""
        text, part = self.tokens.texts[token], b""
        if text is None or (at.part and text):
            if token not in self.tokens.parts:
                return None
            decoder = getincrementaldecoder("utf-8")()
            try:
                text = decoder.decode(at.part + self.tokens.parts[token])
            except UnicodeDecodeError:
                return None
            part = decoder.getstate()[0]
        elif at.part:
            return at
        place = self.names.walk(at.place, text)
        return None if place is None else _Position(place, part)

    def may_follow(self, at: _Position, token: int) -> bool:
        """Whether a token may follow from which tokens lead to a whole word that is allowed."""
        found = self.moved(at, token)
        return found is not None and self._leads_on(found)

    def _leads_on(self, at: _Position) -> bool:
        if at.part:
            return any(
                (place := self.names.step(at.place, sign)) is not None and self._leads_on(_Position(place))
                for sign in self._signs
                if (whole := sign.encode()).startswith(at.part) and self.tokens.can_spell_part(whole[len(at.part) :])
            )
        return self.names.is_whole(at.place) or any(map(self.tokens.can_spell, self.names.rests(at.place)))

    def _kind(self, at: _Position) -> int:
        word = at.place.word
        if at.part or not self.names.is_whole(at.place):
            return _NOTHING
        if at.place.is_between:
            return _OPENING if word == "" and at.place.opens else _BETWEEN
        return _WORD if word is None or not is_name(word) else _BREAK

    def _candidates(self, at: _Position) -> Iterator[int]:
        """Tokens that may follow beside those of the kind: no others do."""
        of_text, of_bytes = self.tokens.of_text, self.tokens.of_bytes
        for sign in self._signs:
            whole = sign.encode()
            if whole.startswith(at.part):
                for end in range(len(at.part) + 1, len(whole) + 1):
                    yield from of_bytes.get(whole[len(at.part) : end], ())
                    yield from () if at.part else of_bytes.get(b" " + whole[:end], ())
        if at.part:
            return
        if at.place.word:
            for rest in self.names.rests(at.place):
                for end in range(1, len(rest) + 1):
                    yield from of_text.get(rest[:end], ())
                yield from self.tokens.of_word.get(rest, ())
        if self.names.is_whole(at.place):
            yield from self._starts


def _first_name(text: str) -> str:
    """The word with the first capital letter or digit, as far as it stands in the text."""
    first = next(place for place, sign in enumerate(text) if is_name(sign))
    start, end = first, first
    while start > 0 and is_word_sign(text[start - 1]):
        start -= 1
    while end < len(text) and is_word_sign(text[end]):
        end += 1
    return text[start:end]

"""Writing sign by sign, held to the names and numbers of given texts.

What is a *name* here is read off a word's letters alone, as it has to be while the word is being written: a word with a
capital letter or a digit in it. "Anna", "iPhone", "G20" and "3,000" are, "yesterday" and "three hundred" are not.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import NamedTuple

from diptych.text.numbers import read_words

# Dates stand beside names in any order: "on Monday Anna Brown".
_CALENDAR = frozenset([
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday",
])  # fmt: skip
# Words of up to three letters that open sentences: of these, vocabularies hold many beginnings of names.
_SHORT_OPENERS = frozenset([
    "a", "all", "an", "and", "any", "as", "at", "but", "by", "few", "for", "he", "her", "his", "how", "if", "in", "it",
    "its", "men", "my", "new", "no", "not", "now", "off", "old", "on", "one", "or", "our", "out", "she", "six", "so",
    "ten", "the", "to", "two", "up", "we", "who", "why", "you",
])  # fmt: skip
_CONNECTORS = ".,:"  # within a number
_JOINING = "-‐‑'’&."  # as blanks do, between words of one name: "Anna-Maria", "O'Brien", "J. R. Brown"
_ENDS = ".!?…"
_CLOSING = "'”’»)]"
_QUOTES = '"“‘«'
_NUMBER = re.compile(r"(?<![^\W_])(\d+(?:[.,:]\d+)*)([^\W_]*)")  # "2.5" of "2.5m" too
_LONGEST = 40  # digits of a number that is looked for in other spellings
_SHOUTED = 4  # letters from which a word in capitals may be written with one


class Place(NamedTuple):
    """Where a text stands that is being written.

    `word` is what has been written of a word so far, empty between words, and None in one that can no longer become a
    name. `opens` says that the word, or the next one, is the first of a sentence. After a name, `run` holds where its
    last word stands in the texts, and the next name must follow there; None: it may stand anywhere. `ends` says that
    the sentence is over with the next blank.
    """

    word: str | None = ""
    opens: bool = True
    run: frozenset[int] | None = None
    ends: bool = False

    @property
    def is_between(self) -> bool:
        """Whether no word is being written, or only a digit would go on with what was a number."""
        return self.word == "" or (self.word or " ")[-1] in _CONNECTORS

    def grown(self, word: str, ends: bool) -> Place:
        """The same place, with another beginning of its word."""
        return Place(word, self.opens, self.run, ends)


_PLAIN = Place(word=None, opens=False)


class Openers:
    """Ordinary words, in lower case: what a sentence may begin with though no text has it."""

    def __init__(self, words: Iterable[str] = ()) -> None:
        longer = (word for word in words if len(word) > max(map(len, _SHORT_OPENERS)))
        self._words = sorted({*longer, *_SHORT_OPENERS})

    def __contains__(self, word: str) -> bool:
        return next(self.beginning_with(word), None) == word

    def beginning_with(self, prefix: str) -> Iterator[str]:
        """The words with this beginning, in their order."""
        for word in islice(self._words, bisect_left(self._words, prefix), None):
            if not word.startswith(prefix):
                return
            yield word


class AllowedNames:
    """Says sign by sign how a text may go on that names nothing but what `texts` name. `signs` are theirs beyond ASCII.

    - A name is written as it stands in one of the texts, letter for letter, or in capitals there and with one here. It
      is a whole word: where "Anna" is allowed, "Annabel" is not, and neither is "Ann".
    - Names that follow each other directly ("Anna Brown") follow each other there. Dates and numbers may stand beside
      any name, and a number may be written as it stands there, or in digits with and without commas.
    - The first word of a sentence may also be any other word of the texts, or one of the `openers`.

    What is written in lower case is free, and so is what names have to do with each other.
    """

    def __init__(self, texts: Sequence[str], openers: Openers) -> None:
        self.openers = openers
        self._names: dict[str, set[int]] = {}  # by spelling, where its word stands
        self._spellings: dict[int, set[str]] = {}
        self._anywhere: set[str] = set()
        self._opening: set[str] = set()
        self.signs = frozenset(sign for text in texts for sign in text if not sign.isascii())
        place = 0
        for text in texts:
            self._anywhere.update(_numbers(text))
            for parted, word in _words(text):
                place += parted
                self._add(place, word)
                place += 1
            place += 1  # the end of a text parts names

    def _add(self, place: int, word: str) -> None:
        if word[0].isdecimal():
            return  # read by `_numbers`, which knows what is one number
        if not is_name(word):
            self._opening.add(word[0].upper() + word[1:])
        elif word in _CALENDAR or word[0].isnumeric():
            self._anywhere.add(word)
        else:
            for spelling in {word, word.capitalize()} if word.isupper() and len(word) >= _SHOUTED else {word}:
                self._names.setdefault(spelling, set()).add(place)
                self._spellings.setdefault(place, set()).add(spelling)

    @cached_property
    def words(self) -> frozenset[str]:
        """All that may be written with a capital letter or a digit, openers left out."""
        return frozenset(self._names) | self._anywhere | self._opening

    # ------------------------------------------------------------------------------------------------ writing

    def step(self, at: Place, sign: str) -> Place | None:
        """Where the text stands after one more sign; None where it may not follow."""
        if is_word_sign(sign):
            return self._grown(at, sign)
        if at.word and at.word[-1].isnumeric() and sign in _CONNECTORS:  # a digit would go on with the number
            grown = at.grown(at.word + sign, at.ends)
            return grown if self.is_whole(grown) or self._leads_on(grown) else None
        ended = self._ended(at)
        return None if ended is None else _between(ended, sign)

    def walk(self, at: Place, signs: Iterable[str]) -> Place | None:
        """Where the text stands after these signs; None where one of them may not follow."""
        for sign in signs:
            if (found := self.step(at, sign)) is None:
                return None
            at = found
        return at

    def is_whole(self, at: Place) -> bool:
        """Whether the text may end here: it stands in no part of a name."""
        return self._ended(at) is not None

    def rests(self, at: Place) -> Iterator[str]:
        """What would make the word one that is allowed: `""` where it is, beside what would make it another."""
        if (word := at.word) is None:
            return
        yield from (one[len(word) :] for one in self._choices(at) if one.startswith(word))
        if at.opens and self._begins_opener(word):
            yield from (one[len(word) :] for one in self.openers.beginning_with(word.lower()))

    def _grown(self, at: Place, sign: str) -> Place | None:
        if at.word and at.word[-1] in _CONNECTORS and not sign.isnumeric():  # the number was over
            ended = self._ended(at)
            return None if ended is None else self._grown(ended, sign)
        if at.word is None:
            return None if is_name(sign) else at
        grown = at.grown(at.word + sign, ends=False)
        if self._leads_on(grown):
            return grown
        return None if is_name(at.word + sign) else _PLAIN

    def _leads_on(self, at: Place) -> bool:
        """Whether the word is the beginning of one that is allowed with a capital letter or a digit."""
        word = at.word or ""
        if at.run is not None:
            return word in self._beginnings[0] or any(one.startswith(word) for one in self._following(at.run))
        return word in self._beginnings[1 + at.opens] or (at.opens and self._begins_opener(word))

    def _begins_opener(self, word: str) -> bool:
        has_form = word[:1].isupper() and word[1:] == word[1:].lower()
        return has_form and next(self.openers.beginning_with(word.lower()), None) is not None

    def _choices(self, at: Place) -> Collection[str]:
        """What may stand here with a capital letter or a digit, openers left out."""
        if at.run is not None:
            return self._following(at.run) | self._anywhere
        return self.words if at.opens else self._mid_sentence

    def _following(self, run: frozenset[int]) -> set[str]:
        """What stands behind the last word of a name."""
        return {one for place in run for one in self._spellings.get(place + 1, ())}

    @cached_property
    def _mid_sentence(self) -> frozenset[str]:
        return frozenset(self._names) | self._anywhere

    @cached_property
    def _beginnings(self) -> tuple[frozenset[str], ...]:
        """The beginnings of what may stand anywhere, within a sentence, and at its start."""
        kinds: tuple[Collection[str], ...] = (self._anywhere, self._mid_sentence, self.words)
        return tuple(frozenset(word[:end] for word in of_kind for end in range(len(word) + 1)) for of_kind in kinds)

    def _ended(self, at: Place) -> Place | None:
        """Between words, behind the word that was being written; None where it is a part of a name."""
        if at.word == "":
            return at
        if at.word is None or not is_name(at.word):
            return Place(opens=False)
        if at.word[-1] in _CONNECTORS:
            number = self._ended(at.grown(at.word[:-1], at.ends))
            return None if number is None else _between(number, at.word[-1])
        if at.word in self._anywhere or (at.opens and self._opens_sentence(at.word)):
            return Place(opens=False)
        places = self._names.get(at.word, set())
        if at.run is not None:
            places = places & {place + 1 for place in at.run}
        return Place(opens=False, run=frozenset(places)) if places else None

    def _opens_sentence(self, word: str) -> bool:
        return word in self._opening or (word[1:] == word[1:].lower() and word.lower() in self.openers)


def is_name(word: str) -> bool:
    """Whether a word, or the beginning of one, has a capital letter or a digit."""
    return any(sign.isupper() or sign.istitle() or sign.isnumeric() for sign in word)


def is_word_sign(sign: str) -> bool:
    """Whether a sign is a part of a word: letters, digits, their marks, and what is not seen."""
    return sign.isalnum() or unicodedata.category(sign) in ("Mn", "Mc", "Me", "Cf")


def _between(at: Place, sign: str) -> Place:
    """Behind one more sign that is a part of no word."""
    if sign.isspace():
        opens = at.ends or sign in "\n\r"
        return Place(opens=True) if opens else at
    if sign in _QUOTES:  # what is quoted may begin like a sentence
        return Place(opens=True)
    if sign in _CLOSING and at.ends:
        return Place(at.word, at.opens, None, at.ends)
    run = at.run if sign in _JOINING else None
    return Place(opens=at.opens, run=run, ends=sign in _ENDS)


def _words(text: str) -> Iterator[tuple[bool, str]]:
    """Runs of signs of words, in their order, each with whether something parts it from the one before: a line's end,
    or a sign that stands in no name.
    """
    start, parted = None, False
    for place, sign in enumerate(f"{text} "):
        if is_word_sign(sign):
            start = place if start is None else start
            continue
        if start is not None:
            yield parted, text[start:place]
            start, parted = None, False
        parted = parted or sign in "\n\r" or not (sign.isspace() or sign in _JOINING)


def _numbers(text: str) -> Iterator[str]:
    """The text's numbers as they stand there, and those that `read_words` reads in plain digits and in groups."""
    for match in _NUMBER.finditer(text):
        yield from (match[0], match[1])
    for word in read_words(text):
        if word.text.isascii() and word.text.isdigit() and len(word.text) <= _LONGEST:
            yield from (word.text, f"{int(word.text):,}")

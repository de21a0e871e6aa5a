"""When two names, dates or numbers are the same, and when a text states one: what the entity metrics agree on.

Words are compared in lower case, without accents, punctuation, possessive endings and a leading article. Names must
agree word for word ("Obama" is not "Barack Obama"), whatever label the recogniser gave them, as labels of one name
differ from sentence to sentence. Dates and quantities are compared as sets: "4 May 2019" is "May 4, 2019" and
"2019-05-04", "about three hundred" is "300".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from diptych.text.folding import origins
from diptych.text.named_entities import NamedEntity
from diptych.text.numbers import read_words

# The labels of OntoNotes, on which spaCy's English models were trained.
QUANTITIES = frozenset(["DATE", "TIME", "PERCENT", "MONEY", "QUANTITY", "ORDINAL", "CARDINAL"])

_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_SHORT_MONTHS = {month[:3]: month for month in _MONTHS} | {"sept": "september"}
# Words around a number that change nothing a reader could check word for word.
_HEDGES = frozenset([
    "a", "about", "almost", "an", "and", "approximately", "around", "as", "at", "between", "by", "early",
    "exactly", "from", "in", "just", "late", "least", "less", "mid", "more", "most", "nearly", "of", "on", "only",
    "over", "roughly", "some", "than", "that", "the", "this", "to", "under", "up",
])  # fmt: skip
_ARTICLES = ("the", "a", "an")
_SHORT_M = re.compile(r"\dm\b")  # million or metre


@dataclass(frozen=True, slots=True)
class Claim:
    """A name, date or number in a caption: [start:end] of it."""

    text: str
    start: int
    end: int
    is_quantity: bool

    @property
    def key(self) -> tuple[str, ...]:
        """What claims that say the same have in common."""
        return _key(self.text, self.is_quantity)


def claims(caption: str, entities: Sequence[NamedEntity]) -> list[Claim]:
    """The caption's entities, and the numbers in digits that no entity covers, in their order; not those without any
    letter or digit. What is cut out of a number, as "5m" out of "£5m", is the whole number.
    """
    place = origins(caption)
    numbers = [(place[word.start], place[word.end]) for word in read_words(caption) if word.in_digits]
    found = [_claim(caption, entity, numbers) for entity in entities]
    for start, end in numbers:
        alone = not caption[start - 1 : start].isalpha() and not caption[end : end + 1].isalpha()
        if alone and not any(claim.start < end and start < claim.end for claim in found):
            found.append(Claim(caption[start:end], start, end, True))
    return sorted((claim for claim in found if words(claim.text)), key=lambda claim: claim.start)


def _claim(caption: str, entity: NamedEntity, numbers: Sequence[tuple[int, int]]) -> Claim:
    start, end, is_quantity = entity.start, entity.end, entity.label in QUANTITIES
    if is_quantity:
        held = [number for number in numbers if number[0] < end and start < number[1]]
        start, end = min([start, *(number[0] for number in held)]), max([end, *(number[1] for number in held)])
    return Claim(caption[start:end], start, end, is_quantity)


def key(entity: NamedEntity) -> tuple[str, ...]:
    """What equal entities have in common; empty for one without letter or digit."""
    return _key(entity.text, entity.label in QUANTITIES)


def _key(text: str, is_quantity: bool) -> tuple[str, ...]:
    found = words(text)
    return tuple(sorted(_content(found))) if is_quantity else tuple(_without_article(found))


def words(text: str, short_m: Literal["million", "metre"] = "million") -> list[str]:
    """Words, numbers and signs of money of a text in one spelling, as `text.numbers` reads them; months in full."""
    return [_SHORT_MONTHS.get(word.text, word.text) for word in read_words(text, short_m)]


def _readings(text: str) -> list[list[str]]:
    """The words of a text, and where "5m" may be 5 million or 5 metres, those of either."""
    return [words(text), words(text, "metre")] if _SHORT_M.search(text) else [words(text)]


class Evidence:
    """A text that is asked whether it states a claim; its words are looked up once."""

    def __init__(self, text: str) -> None:
        self.readings = _readings(text)

    @cached_property
    def _set(self) -> frozenset[str]:
        return frozenset(word for reading in self.readings for word in reading)

    @cached_property
    def _line(self) -> str:
        return f" {' '.join(self.readings[0])} "

    def states(self, claim: Claim) -> bool:
        """Whether the text holds the name word for word, or every word of the date or quantity in any order."""
        if claim.is_quantity:
            return any(_content(reading) <= self._set for reading in _readings(claim.text))
        return f" {' '.join(_without_article(words(claim.text)))} " in self._line


def _content(found: list[str]) -> frozenset[str]:
    return frozenset(found) - _HEDGES or frozenset(found)


def _without_article(found: list[str]) -> list[str]:
    return found[1:] if len(found) > 1 and found[0] in _ARTICLES else found

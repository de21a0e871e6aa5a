"""When two names, dates or numbers are the same, and when a text states one: what the entity metrics agree on.

Words are compared in lower case, without accents, punctuation, possessive endings and a leading article. Names must
agree word for word ("Obama" is not "Barack Obama"), whatever label the recogniser gave them, as labels of one name
differ from sentence to sentence. Dates and quantities are compared as sets: "4 May 2019" is "May 4, 2019" and
"2019-05-04", "about three hundred" is "300".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from diptych.text.named_entities import NamedEntity

# The labels of OntoNotes, on which spaCy's English models were trained.
QUANTITIES = frozenset(["DATE", "TIME", "PERCENT", "MONEY", "QUANTITY", "ORDINAL", "CARDINAL"])

_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_SHORT_MONTHS = {month[:3]: month for month in _MONTHS} | {"sept": "september"}
_SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_NUMBERS = {word: number for number, word in enumerate(_SMALL)} | {
    word: 10 * number for number, word in enumerate(_TENS, start=2)
}
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8}
# Words around a number that change nothing a reader could check word for word.
_HEDGES = frozenset([
    "a", "about", "almost", "an", "and", "approximately", "around", "as", "at", "between", "by", "early",
    "exactly", "from", "in", "just", "late", "least", "less", "mid", "more", "most", "nearly", "of", "on", "only",
    "over", "roughly", "some", "than", "that", "the", "this", "to", "under", "up",
])  # fmt: skip
_ARTICLES = ("the", "a", "an")
_ISO_DATE = re.compile(r"\b(\d{4})-(0[1-9]|1[0-2])-(\d\d)(?:T[\d:.]+Z?)?\b")
_POSSESSIVE = re.compile(r"(?<=\w)['’](?:s\b|(?!\w))", re.IGNORECASE)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_INITIALS = re.compile(r"\b(?:[^\W\d_]\.)+[^\W\d_]\b")
_ORDINAL_ENDING = re.compile(r"(?<=\d)(?:st|nd|rd|th)\b", re.IGNORECASE)
_WORD = re.compile(r"\d+(?:\.\d+)?|[^\W\d_]+|[%$€£]")
_SIGNS = {"%": "percent", "$": "dollar", "€": "euro", "£": "pound"}
_PLURALS = {"dollars": "dollar", "euros": "euro", "pounds": "pound"}
_NUMBER_IN_TEXT = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)*(?!\w)")


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
    letter or digit.
    """
    found = [Claim(entity.text, entity.start, entity.end, entity.label in QUANTITIES) for entity in entities]
    for match in _NUMBER_IN_TEXT.finditer(caption):
        if not any(claim.start < match.end() and match.start() < claim.end for claim in found):
            found.append(Claim(match[0], match.start(), match.end(), True))
    return sorted((claim for claim in found if words(claim.text)), key=lambda claim: claim.start)


def key(entity: NamedEntity) -> tuple[str, ...]:
    """What equal entities have in common; empty for one without letter or digit."""
    return _key(entity.text, entity.label in QUANTITIES)


def _key(text: str, is_quantity: bool) -> tuple[str, ...]:
    found = words(text)
    return tuple(sorted(_content(found))) if is_quantity else tuple(_without_article(found))


def words(text: str) -> list[str]:
    """Words, numbers and signs of money of a text in one spelling; numbers in words as digits, months in full."""
    text = _ISO_DATE.sub(lambda match: f"{match[3]} {_MONTHS[int(match[2]) - 1]} {match[1]}", text)
    for pattern in (_POSSESSIVE, _THOUSANDS, _ORDINAL_ENDING):
        text = pattern.sub("", text)
    text = _INITIALS.sub(lambda match: match[0].replace(".", ""), text)
    folded = "".join(sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign))
    return _join_numbers([_spelling(word) for word in _WORD.findall(folded.casefold())])


class Evidence:
    """A text that is asked whether it states a claim; its words are looked up once."""

    def __init__(self, text: str) -> None:
        self.words = words(text)

    @cached_property
    def _set(self) -> frozenset[str]:
        return frozenset(self.words)

    @cached_property
    def _line(self) -> str:
        return f" {' '.join(self.words)} "

    def states(self, claim: Claim) -> bool:
        """Whether the text holds the name word for word, or every word of the date or quantity in any order."""
        found = words(claim.text)
        if claim.is_quantity:
            return _content(found) <= self._set
        return f" {' '.join(_without_article(found))} " in self._line


def _spelling(word: str) -> str:
    if word[0].isdigit():
        whole, _, part = word.partition(".")
        part = part.rstrip("0")
        return (whole.lstrip("0") or "0") + (f".{part}" if part else "")
    word = _SIGNS.get(word) or _PLURALS.get(word, word)
    if word in _ORDINALS:
        return str(_ORDINALS[word])
    return _SHORT_MONTHS.get(word, word)


def _join_numbers(given: list[str]) -> list[str]:
    """Runs of number words, such as "two hundred and fifty" or "3 million", as one number in digits."""
    joined: list[str] = []
    position = 0
    while position < len(given):
        value, after = _number_at(given, position)
        joined.append(given[position] if value is None else value)
        position = after
    return joined


def _number_at(given: list[str], position: int) -> tuple[str | None, int]:
    """The number that begins at a position with a number word or a scale behind it, and where it ends."""
    total, current, begun, start = 0.0, 0.0, False, position
    previous = ""
    while position < len(given):
        word = given[position]
        if word in _NUMBERS and (not begun or previous in _SCALES or (previous in _TENS and _NUMBERS[word] < 10)):
            current += _NUMBERS[word]
        elif word in _SCALES and begun:
            if _SCALES[word] == 100:
                current *= 100
            else:
                total, current = total + current * _SCALES[word], 0.0
        elif not begun and word[0].isdigit() and position + 1 < len(given) and given[position + 1] in _SCALES:
            current = float(word)
        elif word == "and" and previous in _SCALES and position + 1 < len(given) and given[position + 1] in _NUMBERS:
            position += 1
            continue
        else:
            break
        begun, previous = True, word
        position += 1
    if not begun:
        return None, start + 1
    return f"{total + current:.15g}", position


def _content(found: list[str]) -> frozenset[str]:
    return frozenset(found) - _HEDGES or frozenset(found)


def _without_article(found: list[str]) -> list[str]:
    return found[1:] if len(found) > 1 and found[0] in _ARTICLES else found

"""A text's words and numbers, each number in one spelling: "2½ million", "2.5m" and "two and a half million" alike.

- Numbers are exact decimals without needless zeros ("2500000", "0.5"), or fractions in lowest terms ("2/3"); ordinals
  are their numbers. Ranges, scores, times and dates stay as many numbers as they are.
- "percent" and "percentage point" follow their number, as the currency does: "£5m" is "5000000 pound".
- Units of time and length behind a number are its singular: "20 years old" is "20-year-old".
- What is ambiguous stays: "1.500" is 1.5, "1 500" with a common blank two numbers (but "1 000" none), "a third" an
  ordinal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import gcd

from diptych.text import number_names as names
from diptych.text.folding import BORDER, FRACTION_SLASH, fold, kept_marks
from diptych.text.number_words import NumberWords, Token, written

_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_LONGEST = 40  # digits; what is longer is no quantity, and is compared digit by digit
_SIGNS = "".join(sign for sign in names.CURRENCY_SIGNS if len(sign) == 1)
_LETTER = rf"[^\W\d_][{kept_marks()}]*"
# Groups are bounded, for a text of nothing but groups would be looked through once from each.
_TOKEN = re.compile(
    rf"""
      (?P<iso>\b\d{{4}}-(?:0[1-9]|1[0-2])-\d\d(?:T[\d:.]+Z?)?\b)
    | (?P<decade>(?<!\w)'\d0s\b|(?<![\w.,])(?:\d\d)?\d0'?s\b)
    | (?P<clock>(?<![\d.,:])\d{{1,2}}\.\d\d(?=\s?[ap]\.?m\b))
    | (?P<fraction>(?<![\d.,/{FRACTION_SLASH}])(?:\d{{1,3}}[ \xa0{BORDER}-]{{1,3}})?\d{{1,4}}
        [/{FRACTION_SLASH}]\d{{1,4}}(?![\d/{FRACTION_SLASH}]))
    | (?P<european>(?<![\d.,])\d{{1,3}}(?:(?:\.\d{{3}}){{2,8}}(?:,\d{{1,9}})?|(?:\.\d{{3}}){{1,8}},\d\d?
        |(?:\xa0\d{{3}}){{1,8}},\d\d?)(?![\d.]))
    | (?P<number>(?:
          (?<!\d)\d{{1,3}}(?:,\d{{3}}){{1,8}}(?!\d)
        | (?<!\d)\d\d?(?:,\d\d){{1,8}},\d{{3}}(?!\d)
        | (?<!\d)\d{{1,3}}(?:\xa0\d{{3}}){{1,8}}(?!\d)
        | (?<!\d)\d{{1,3}}(?:'\d{{3}}){{1,8}}(?!\d)
        | (?<![\d.,])[1-9]\d{{0,2}}(?:\ \d{{3}}){{0,7}}?\ 0\d\d(?:\ \d{{3}}){{0,7}}(?!\d)
        | \d+
      )(?:\.\d+)?|(?<![\w.])\.\d+)
    | (?P<ordinal>(?<=\d)(?:st|nd|rd|th)\b)
    | (?P<possessive>(?<=\w)'(?:s\b|(?!\w)))
    | (?P<sign>[%{_SIGNS}]|(?-i:\bR\$|\bRs\.?(?=\s?\d)))
    | (?P<word>(?:[^\W\d_]\.)+[^\W\d_]\b\.?|[^\W\d_]\.(?:\ ?[^\W\d_]\.)+|(?:{_LETTER})+)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_NOT_IN_DIGITS = re.compile("[, \xa0']")
_POINTS = frozenset(["point", "points"])
_PERCENT = frozenset(["percent", "pct", "pc", "pp", "percentage", "%"])
_METRES = frozenset(["metre", "metres", "meter", "meters"])
_AMERICAN = frozenset(["us", "u.s", "u.s.", "american"])
# What may begin something else than a plain word.
_MARKED = {
    "a", "an", "minus", "per", "half", "quarter", "m", *names.UNITS, *_PERCENT, *_METRES, *_AMERICAN,
    *names.MONEY_WORDS, *NumberWords.BEGINNINGS, *map(str.lower, names.CURRENCY_CODES), *map(str.lower, names.DOLLARS),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Word:
    """A word, number or sign in its one spelling, from [start:end] of the folded text; `in_digits` is a number whose
    digits stand there.
    """

    text: str
    start: int
    end: int
    in_digits: bool = False


def read_words(text: str, short_m: str = "million") -> list[Word]:
    """The words and numbers of a text, in their order; places are those of `fold(text)`. `short_m` says what "5m" is
    where it is no money: million or metre.
    """
    folded = fold(text)
    return list(_Reader(folded, short_m)) if folded else []


class _Reader(NumberWords):
    def __init__(self, folded: str, short_m: str) -> None:
        super().__init__(folded, list(_tokens(folded)))
        self.short_m = short_m

    def __iter__(self) -> Iterator[Word]:
        place = 0
        while place < len(self.tokens):
            token = self.tokens[place]
            if token.kind == "word" and token.lower not in _MARKED:
                yield Word(_plain(token), token.start, token.end)
                place += 1
            else:
                found, place = self._money(place) or self._number(place) or self._share(place) or self._other(place)
                yield from found

    def _money(self, place: int) -> tuple[list[Word], int] | None:
        """A sign or code of money, and the number behind it: the number comes first."""
        token, following = self.tokens[place], place
        prefix: tuple[str, ...] = ()
        if token.text in names.DOLLARS and self._is(place + 1, "sign", "$"):
            attached = token.end == self.tokens[place + 1].start
            if attached or not names.DOLLARS[token.text]:  # "A $5 ticket" is no Australian one
                prefix, following = names.DOLLARS[token.text], place + 1
        if self.tokens[following].kind == "sign" and self.tokens[following].text != "%":
            said = (*prefix, names.CURRENCY_SIGNS[self.tokens[following].text])
        elif token.text in names.CURRENCY_CODES:
            said = names.CURRENCY_CODES[token.text]
        else:
            return None
        found = self._number(following + 1, token.start) if self.gap(following + 1) in ("", "-") else None
        money = [Word(word, token.start, self.tokens[following].end) for word in said]
        if found is None:
            return money, following + 1
        return [*found[0], *money], found[1]

    def _number(self, place: int, money_from: int | None = None) -> tuple[list[Word], int] | None:
        """A number with all that belongs to it; `money_from` is where the sign of money before it begins."""
        token = self.tokens[place]
        negative = token.lower == "minus" and money_from is None and self._is_number(place + 1) and self._opens(place)
        first = place + 1 if negative else place
        literal = self.tokens[first]
        if literal.kind in ("number", "european", "fraction"):
            text, end = self._literal(first, money_from is not None)
        elif literal.kind == "word" and not self._is_unit_of_time(first):
            found = self.cardinal(first)
            if found is None:
                return None
            text, end = written(found[0]), found[1]
        else:
            return None
        start = token.start if money_from is None else money_from
        if literal.kind != "word" and (self._has_sign(start, place) or self._has_sign(literal.start, place)):
            negative, start = True, start - self._has_sign(start, place)
        text = f"-{text}" if negative and text != "0" else text
        return [Word(text, start, self.tokens[end - 1].end, literal.kind != "word")], end

    def _literal(self, place: int, is_money: bool) -> tuple[str, int]:
        token, end = self.tokens[place], place + 1
        text = _digits(token)
        if self._is(end, "ordinal"):
            return text, end + 1
        if len(text) > _LONGEST:
            return text, end
        value = Fraction(text)
        if token.kind == "fraction":
            part = self.part_of_scale(value, end)
            if part is not None:
                return written(part[0]), part[1]
        factor = self._short_scale(end, is_money)
        if factor:
            return written(value * factor), end + 1
        value, end = self.multiplied(*self._with_hundreds(value, end))
        return written(value), end

    def _short_scale(self, place: int, is_money: bool) -> int | None:
        """What "bn" and the like behind digits multiply by."""
        if self.gap(place) or self.tokens[place].kind != "word":
            return None
        token = self.tokens[place]
        attached = not self.text[self.tokens[place - 1].end : token.start].strip(BORDER)
        is_money = is_money or self.word(place + 1) in names.MONEY_WORDS
        factor = names.SHORT_SCALES.get(token.lower)
        if factor is None and (attached or is_money):
            factor = names.LETTER_SCALES.get(token.text)
            if token.text == "m" and self.short_m != "million" and not is_money:
                factor = None
        if factor is None and is_money:
            factor = names.MONEY_LETTERS.get(token.text)
        return factor

    def _share(self, place: int) -> tuple[list[Word], int] | None:
        """Percent and percentage points, however they are written."""
        token, end = self.tokens[place], place + 1
        after_number = place > 0 and self.gap(place) in ("", "-") and self.tokens[place - 1].kind in _LITERALS
        if token.lower == "per" and self.word(end) == "cent":
            end += 1
        elif token.lower not in _PERCENT or (token.lower in ("pp", "pc") and not after_number):
            return None
        is_points = self.word(end) in _POINTS
        if token.lower == "percentage" and not is_points:
            return None
        said = ("percentage", "point") if is_points or token.lower == "pp" else ("percent",)
        end += is_points
        return [Word(word, token.start, self.tokens[end - 1].end) for word in said], end

    def _other(self, place: int) -> tuple[list[Word], int]:
        token, end = self.tokens[place], place + 1
        said: tuple[str, ...] = (_plain(token),)
        if token.kind == "iso":
            year, month, day = token.text[:10].split("-")
            said = (day.lstrip("0") or "0", _MONTHS[int(month) - 1], year.lstrip("0") or "0")
        elif token.kind == "decade":
            said = (_decade(token.text),)
        elif token.kind == "clock":
            said = tuple(part.lstrip("0") or "0" for part in token.text.split("."))
        elif token.kind in ("possessive", "ordinal"):
            said = ()
        elif token.lower in _METRES or (token.text == "m" and place and self.tokens[place - 1].kind == "number"):
            said = ("metre",)
        elif token.lower in names.UNITS and self._is_counted(place):
            said = (names.UNITS[token.lower],)
        elif self._is_of_money(place):
            said = ()
        return [Word(word, token.start, token.end, token.kind in ("iso", "clock")) for word in said], end

    def _is_counted(self, place: int) -> bool:
        """Whether a number stands before the word."""
        before = self.tokens[place - 1]
        return place > 0 and self.gap(place) in ("", "-") and (before.kind in _LITERALS or before.lower in self.ENDS)

    def _is_of_money(self, place: int) -> bool:
        """Whether a word only says whose money it is: of US dollars, of pounds sterling."""
        word = self.tokens[place].lower
        if word == "sterling":
            return place > 0 and self.tokens[place - 1].lower in ("pound", "pounds")
        return word in _AMERICAN and self.word(place + 1) in ("dollar", "dollars")

    def _is(self, place: int, kind: str, text: str | None = None) -> bool:
        """Whether such a token follows without anything between."""
        if not 0 < place < len(self.tokens) or self.tokens[place].kind != kind or self.gap(place):
            return False
        return text is None or self.tokens[place].text == text

    def _is_number(self, place: int) -> bool:
        if self.gap(place):
            return False
        token = self.tokens[place]
        return token.kind in _LITERALS or (token.kind == "word" and self.cardinal(place) is not None)

    def _opens(self, place: int) -> bool:
        """Whether there is no number before, from which something could be taken."""
        return not (place and not self.gap(place).strip("-") and self.tokens[place - 1].kind in _LITERALS)

    def _has_sign(self, start: int, place: int) -> bool:
        before = self.text[max(start - 2, 0) : start]
        return before.endswith("-") and not before[:-1].strip(" \n\t([\"'$£€¥\xa0") and self._opens(place)

    def _is_unit_of_time(self, place: int) -> bool:
        """A "second" that is no ordinal: "30-second", "per second"."""
        if self.tokens[place].lower != "second" or not place:
            return False
        before = self.tokens[place - 1]
        return before.lower == "per" or (self.gap(place) == "-" and self.tokens[place - 1].kind in _LITERALS)


_LITERALS = frozenset(["number", "european", "fraction", "ordinal"])


def _tokens(folded: str) -> Iterator[Token]:
    for match in _TOKEN.finditer(folded):
        token = Token(match.lastgroup or "", match[0], match.start(), match.end())
        if token.kind == "fraction" and not _is_fraction(token.text):
            for number in re.finditer(r"\d+", token.text):
                yield Token("number", number[0], token.start + number.start(), token.start + number.end())
        else:
            yield token


def _is_fraction(text: str) -> bool:
    """A proper one with a denominator up to ten, for others are dates and names; with the fraction slash any."""
    *_, above, below = map(int, re.findall(r"\d+", text))
    if FRACTION_SLASH in text:
        return below > 0
    return above < below <= 10 and gcd(above, below) == 1 and above > 0


def _digits(token: Token) -> str:
    """A literal in one spelling."""
    text = token.text
    if token.kind == "fraction":
        *whole, above, below = map(int, re.findall(r"\d+", text))
        return written(sum(whole) + Fraction(above, below))
    if token.kind == "european":
        text = text.replace(".", "").replace(",", ".")
    whole_part, _, part = _NOT_IN_DIGITS.sub("", text).partition(".")
    part = part.rstrip("0")
    return (whole_part.lstrip("0") or "0") + (f".{part}" if part else "")


def _decade(text: str) -> str:
    digits = "".join(filter(str.isdigit, text))
    if text[0] == "'" and digits != "20":  # of the twenties there are two
        digits = f"{'20' if digits in ('00', '10') else '19'}{digits}"
    return f"{digits}s"


def _plain(token: Token) -> str:
    text = token.text.replace(".", "").replace(" ", "").casefold()
    return names.CURRENCIES.get(text, text)

"""Numbers in words: "two hundred and fifty", "half a million", "two-thirds", "twenty-first", "3 million"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from diptych.text import number_names as names

Found = tuple[Fraction, int]  # a value, and the place behind its last token
_ONE = ("a", "an", "one")
_MOST_SCALES = 2  # "a hundred thousand million" has two


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a text as it was cut: [start:end] of it. `kind` is the rule that cut it."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def lower(self) -> str:
        """The text in lower case."""
        return self.text.lower()


class NumberWords:
    """What the tokens of a text say in words of numbers; places are those of tokens."""

    BEGINNINGS = frozenset([
        *names.SMALL, *names.TENS, *names.SMALL_ORDINALS, *names.TENS_ORDINALS, *names.SCALES, *names.ROUND_ORDINALS,
        names.HUNDRED,
    ])  # fmt: skip
    ENDS = BEGINNINGS | {"half", "quarter", "quarters", *names.SHORT_SCALES, *names.LETTER_SCALES}

    def __init__(self, text: str, tokens: Sequence[Token]) -> None:
        self.text, self.tokens = text, tokens

    def gap(self, place: int) -> str:
        """What stands between a token and the one before it, without blanks; "end" behind the last."""
        if not 0 < place < len(self.tokens):
            return "end"
        return self.text[self.tokens[place - 1].end : self.tokens[place].start].strip()

    def word(self, place: int) -> str:
        """The word that a blank or a hyphen joins to what is before it, in lower case; or nothing."""
        return self.tokens[place].lower if self.gap(place) in ("", "-") else ""

    def cardinal(self, place: int) -> Found | None:
        """The number in words, ordinals and fractions too, that begins at a place."""
        first = self.tokens[place].lower
        part = self._part(place)
        if part is not None:
            return part
        one = first in ("a", "an") and (self.word(place + 1) in names.SCALES or self.word(place + 1) == names.HUNDRED)
        if one:
            return self._hundreds(Fraction(1), place + 1)
        if first in names.ROUND_ORDINALS:
            return Fraction(names.ROUND_ORDINALS[first]), place + 1
        scale = names.SCALES.get(first, 100)
        if (scale > 100 or first == names.HUNDRED) and self.word(place + 1) == "and":  # "hundred and five"
            value, end = self.with_rest(Fraction(scale), place + 1, scale)
            return (value, end) if end > place + 1 else None
        small = self._below_hundred(place)
        if small is None:
            return None
        value, end, is_ordinal = small
        return (value, end) if is_ordinal else self._hundreds(value, end)

    def multiplied(self, value: Fraction, end: int) -> Found:
        """The number that ends at a place with what is behind it: a half, a scale ("million"), and what that adds."""
        added, end = self._added_part(end)
        value, scale = value + added, 1
        for _ in range(_MOST_SCALES):
            factor = names.SCALES.get(self.word(end))
            if factor is None:
                break
            value, scale, end = value * factor, factor, end + 1
        if scale == 1:
            factor = names.ROUND_ORDINALS.get(self.word(end))
            return (value, end) if factor is None else (value * factor, end + 1)
        added, end = self._added_part(end)
        if added:
            return value + added * scale, end
        return self.with_rest(value, end, scale)

    def with_rest(self, value: Fraction, end: int, scale: int) -> Found:
        """A multiple of a scale with what follows it and is smaller: "two thousand" and "three hundred and one"."""
        place = end + 1 if self.word(end) == "and" else end
        comma = self.gap(place) == ","
        if self.gap(place) not in ("", "-", ","):
            return value, end
        small = self._below_hundred(place)
        if small is None:
            return value, end
        rest, after, is_ordinal = small
        if not is_ordinal:
            rest, after = self._with_hundreds(rest, after)
            following = names.SCALES.get(self.word(after), 1)
            if following * rest >= scale:
                return value, end
            rest, after = self.multiplied(rest, after)
        if not 0 < rest < scale or (comma and rest < 100):
            return value, end
        return value + rest, after

    def _hundreds(self, value: Fraction, end: int) -> Found:
        return self.multiplied(*self._with_hundreds(value, end))

    def _with_hundreds(self, value: Fraction, end: int) -> Found:
        """With "hundred" and what it adds, where it stands there."""
        if self.word(end) == names.HUNDRED:
            value, end = value * 100, end + 1
            place = end + 1 if self.word(end) == "and" else end
            small = self._below_hundred(place) if self.word(place) else None
            if small is not None and small[0] > 0 and self.word(small[1]) != names.HUNDRED:
                return value + small[0], small[1]
        elif self.word(end) in names.ROUND_ORDINALS:
            return value * names.ROUND_ORDINALS[self.word(end)], end + 1
        return value, end

    def _below_hundred(self, place: int) -> tuple[Fraction, int, bool] | None:
        """A number from 0 to 99, where it ends, and whether it is an ordinal."""
        if place >= len(self.tokens):
            return None
        word, following = self.tokens[place].lower, self.word(place + 1)
        if word in names.TENS:
            if 0 < names.SMALL.get(following, 0) < 10:
                return Fraction(names.TENS[word] + names.SMALL[following]), place + 2, False
            is_unit = following == "second" and self.gap(place + 1) != "-"  # of time
            if names.SMALL_ORDINALS.get(following, 10) < 10 and not is_unit:
                return Fraction(names.TENS[word] + names.SMALL_ORDINALS[following]), place + 2, True
            return Fraction(names.TENS[word]), place + 1, False
        if word in names.SMALL:
            return Fraction(names.SMALL[word]), place + 1, False
        ordinal = names.SMALL_ORDINALS.get(word) or names.TENS_ORDINALS.get(word)
        return None if ordinal is None else (Fraction(ordinal), place + 1, True)

    def _part(self, place: int) -> Found | None:
        """Two-thirds; half a million; a quarter of a million; two-thirds of a million."""
        word, end = self.tokens[place].lower, place + 1
        if word in ("a", "an") and self.word(end) in ("half", "quarter"):
            word, end = self.word(end), end + 1
        if word in ("half", "quarter"):
            return self.part_of_scale(Fraction(1, names.DENOMINATORS[word]), end)
        number, name = names.SMALL.get(word, 0), self.word(end)
        is_plural = name.endswith("s") or name == "halves"
        if not number or name not in names.DENOMINATORS or is_plural != (number > 1):
            return None
        value = Fraction(number, names.DENOMINATORS[name])
        return self.part_of_scale(value, end + 1) or (value, end + 1)

    def part_of_scale(self, part: Fraction, end: int) -> Found | None:
        """`part` of a scale that stands at a place: "of a million", "a million", "million"; or of a percent."""
        if self.word(end) == "of":
            end += 1
        if self.word(end) in _ONE:
            end += 1
        if self.word(end) == "percent" or (self.word(end), self.word(end + 1)) in names.PARTED:
            return part, end
        scale = names.SCALES.get(self.word(end))
        return None if scale is None else (part * scale, end + 1)

    def _added_part(self, end: int) -> Found:
        """Of "and a half", "and a quarter", "and three quarters"; 0 if there is none."""
        if self.word(end) == "and":
            said = (self.word(end + 1), self.word(end + 2))
            if said[0] in _ONE and said[1] in ("half", "quarter"):
                return Fraction(1, names.DENOMINATORS[said[1]]), end + 3
            if said == ("three", "quarters"):
                return Fraction(3, 4), end + 3
        return Fraction(0), end


def written(value: Fraction) -> str:
    """A decimal if there is an exact one, else a fraction in lowest terms."""
    rest, places = value.denominator, 0
    for prime in (2, 5):
        count = 0
        while rest % prime == 0:
            rest, count = rest // prime, count + 1
        places = max(places, count)
    if rest > 1:
        return f"{value.numerator}/{value.denominator}"
    digits = f"{abs(value.numerator) * 10**places // value.denominator:0{places + 1}}"
    whole, part = digits[: len(digits) - places], digits[len(digits) - places :]
    return f"{'-' if value < 0 else ''}{whole}{'.' if part else ''}{part}"

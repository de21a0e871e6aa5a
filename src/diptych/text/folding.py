"""Characters that mean the same as one character: what names and numbers are compared in."""

from __future__ import annotations

import unicodedata
from fractions import Fraction

FRACTION_SLASH = "\u2044"
GROUP_BLANK = "\xa0"  # within a number: "1 500"
BORDER = "\x1f"  # around a number that is a sign of its own: a blank that parts no more than digits
# Letters with a stroke, joined letters and those without a dot, which Unicode does not take apart.
_LETTERS = {
    "ł": "l", "ŀ": "l", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "ŧ": "t", "þ": "th", "æ": "ae", "œ": "oe", "ß": "ss",
    "ı": "i", "ƀ": "b", "ɨ": "i", "ɫ": "l", "ƶ": "z", "ŋ": "n", "ĸ": "k", "ſ": "s",
}  # fmt: skip
_SIGNS = {
    **dict.fromkeys("\u2212\u2010\u2011\ufe63\uff0d", "-"),
    **dict.fromkeys("’‘‛ʼʻ`´ʹ′\uff07\x92\x91", "'"),
    **dict.fromkeys("\xa0\u2007\u2008\u2009\u200a\u202f", GROUP_BLANK),
    "\u066b": ".",
    "\u066c": ",",
    FRACTION_SLASH: FRACTION_SLASH,
}


def fold(text: str) -> str:
    """The text without accents and strokes, with other scripts' digits, and the many dashes, apostrophes and blanks of
    one meaning, as ASCII's; case is kept. Thin and no-break blanks become no-break ones; a fraction's sign is written
    with the fraction slash; it, superscript and circled numbers have a `BORDER` around them.
    """
    return text if text.isascii() else text.translate(_FOLDED)


def origins(text: str) -> list[int]:
    """Where each character of `fold(text)` comes from; and the text's length."""
    if text.isascii():
        return list(range(len(text) + 1))
    found = [place for place, sign in enumerate(text) for _ in _FOLDED[ord(sign)]]
    return [*found, len(text)]


class _Folded(dict[int, str]):
    """By code point, each worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        self[code] = folded = _fold_sign(chr(code))
        return folded


def _fold_sign(sign: str) -> str:
    if sign in _SIGNS:
        return _SIGNS[sign]
    category = unicodedata.category(sign)
    if category == "Nd":
        return str(unicodedata.decimal(sign))
    if category == "No":
        return f"{BORDER}{_number(unicodedata.numeric(sign, -1.0))}{BORDER}"
    if category == "Cf":  # directions, joiners, soft hyphens: no reader sees them
        return ""
    parts = sign if sign.lower() in _LETTERS else unicodedata.normalize("NFKD", sign)
    return "".join(_letter(part) for part in parts if not unicodedata.combining(part))


def _letter(sign: str) -> str:
    small = _LETTERS.get(sign.lower())
    if small is None:
        return sign
    return small if sign.islower() else small.upper()


def _number(value: float) -> str:
    if value < 0:
        return ""
    fraction = Fraction(value).limit_denominator(1000)
    return str(fraction).replace("/", FRACTION_SLASH)


_FOLDED = _Folded()

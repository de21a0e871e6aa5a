"""Characters that mean the same as one character: what names and numbers are compared in."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

FRACTION_SLASH = "\u2044"
GROUP_BLANK = "\xa0"  # within a number: "1 500"
BORDER = "\x1f"  # around a number that is a sign of its own: a blank that parts no more than digits
# Joined letters and those without a dot, which Unicode does not take apart; those with a stroke or hook are by name.
_LETTERS = {
    "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ß": "ss", "ı": "i", "ŋ": "n", "ĸ": "k", "ſ": "s",
    "ŀ": "l",
}  # fmt: skip
_WITH_STROKE = re.compile(r"LATIN (?:SMALL|CAPITAL) LETTER ([A-Z])(?: WITH | BAR$)")
_SIGNS = {
    **dict.fromkeys("\u2212\u2010\u2011\ufe63\uff0d", "-"),
    **dict.fromkeys("’‘‛ʼʻ`´ʹ′\uff07\x92\x91", "'"),
    **dict.fromkeys("\xa0\u2007\u2008\u2009\u200a\u202f", GROUP_BLANK),
    "×": "x",
    "\u066b": ".",
    "\u066c": ",",
    FRACTION_SLASH: FRACTION_SLASH,
}


def fold(text: str) -> str:
    """The text without accents and strokes, with other scripts' digits, and the many dashes, apostrophes and blanks of
    one meaning, as ASCII's; case is kept, and so are vowels and voicing that a script writes as marks. Thin and
    no-break blanks become no-break ones; a fraction's sign is written with the fraction slash; it, superscript and
    circled numbers have a `BORDER` around them.
    """
    return text if text.isascii() else text.translate(_FOLDED)


def origins(text: str) -> list[int]:
    """Where each character of `fold(text)` comes from; and the text's length."""
    if text.isascii():
        return list(range(len(text) + 1))
    found = [place for place, sign in enumerate(text) for _ in _FOLDED[ord(sign)]]
    return [*found, len(text)]


def kept_marks() -> str:
    """The marks that `fold` keeps; they belong to the letter before them. Of living scripts, which are few."""
    signs = map(chr, (*range(0x700, 0x1D00), 0x3099, 0x309A, *range(0xA800, 0xAC00)))
    return "".join(sign for sign in signs if unicodedata.category(sign)[0] == "M" and not _is_accent(sign))


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
    return "".join(_SIGNS.get(part) or _letter(part) for part in parts if not _is_accent(part))


def _is_accent(sign: str) -> bool:
    """An accent, a vowel point of Hebrew or Arabic, or a sign of how a letter is drawn: what may be left out. Unicode's
    classes between are other scripts' vowels, voicing marks and tones, without which it is another word.
    """
    kind = unicodedata.combining(sign)
    if kind == 0:
        return unicodedata.category(sign) == "Me" or sign == "\u034f" or "VARIATION" in unicodedata.name(sign, "")
    return kind == 1 or 10 <= kind <= 36 or kind >= 200


def _letter(sign: str) -> str:
    stroke = None if sign.isascii() else _WITH_STROKE.match(unicodedata.name(sign, ""))
    small = stroke[1].lower() if stroke else _LETTERS.get(sign.lower())
    if small is None:
        return sign
    return small if sign.islower() else small.upper()


def _number(value: float) -> str:
    if value < 0:
        return ""
    fraction = Fraction(value).limit_denominator(1000)
    return str(fraction).replace("/", FRACTION_SLASH)


_FOLDED = _Folded()

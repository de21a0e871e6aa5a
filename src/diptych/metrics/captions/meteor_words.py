"""The words that METEOR 1.5 counts (option -norm): its normalizer, after Moses' tokenizer with changes of its own.

It reads what the Penn Treebank tokenizer left, joined by blanks, and cuts further: "u.s.-based" is "us based",
"well-known" two words, and "'s" is "'" and "s".
Rules and character ranges after its authors' program (edu.cmu.meteor.util.Normalizer in meteor-1.5.jar).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_LETTERS = "A-Za-z\u0160\u017d\u0161\u017e\u0178\xc0-\xd6\xd8-\xf6\xf8-\u017e"
_LETTERS += "\u0400-\u04ff\u0500-\u0527\ua640-\ua66e\ua67e-\ua697\u1d00-\u1d7f"
_SIGN = re.compile(rf"([^0-9{_LETTERS} \t\n\x0b\f\r.'`,\-\u2018\u2019])")
_MORE_DOTS = re.compile(r"\.(\.+)")
_LAST_DOT = re.compile(r"DOTMULTI\.([^.])")
_RULES = tuple(
    (re.compile(pattern), written)
    for pattern, written in (
        ("([^0-9]),([^0-9])", r"\1 , \2"),
        ("([0-9]),([^0-9])", r"\1 , \2"),
        ("([^0-9]),([0-9])", r"\1 , \2"),
        ("[`\u2018\u2019]", "'"),
        ("[\u201c\u201d]|''", ' " '),
        ("\u2013", "-"),
        ("--", "-"),
        (rf"([0-9{_LETTERS}.])-([0-9{_LETTERS}])", r"\1 \2"),
        (rf"([^{_LETTERS}])'([^{_LETTERS}])", r"\1 ' \2"),
        (rf"([^{_LETTERS}0-9])'([{_LETTERS}])", r"\1 ' \2"),
        (rf"([{_LETTERS}])'([^{_LETTERS}])", r"\1 ' \2"),
        (rf"([{_LETTERS}])'([{_LETTERS}])", r"\1 '\2"),
        ("([0-9])'(s)", r"\1 '\2"),
    )
)
_LETTER = re.compile(f"[{_LETTERS}]")
_BLANKS = re.compile("[ \u2000-\u200a\u202f\u205f\u3000\xa0]+")
_GAP = re.compile("[ \t\n\r\f]+")  # between words, to Java's StringTokenizer
_TRIMMED = "".join(map(chr, range(33)))


def meteor_words(text: str, abbreviations: Mapping[str, bool]) -> list[str]:
    """The words of a text in lower case. `abbreviations` keep their full stop; only before a number where True."""
    text = _SIGN.sub(r" \1 ", f" {text.strip(_TRIMMED)} ")
    text = _MORE_DOTS.sub(r" DOTMULTI\1", text)
    while "DOTMULTI." in text:
        text = _LAST_DOT.sub(r"DOTDOTMULTI \1", text).replace("DOTMULTI.", "DOTDOTMULTI")
    for pattern, written in _RULES:
        text = pattern.sub(written, text)
    pieces = [piece for piece in _GAP.split(text) if piece]
    followers = [*pieces, ""][1:]
    text = " ".join(_parted(*pair, abbreviations) for pair in zip(pieces, followers, strict=True))
    while "DOTDOTMULTI" in text:
        text = text.replace("DOTDOTMULTI", "DOTMULTI.")
    text = _BLANKS.sub(" ", text.replace("DOTMULTI", ".")).strip(_TRIMMED)
    return [word for word in _GAP.split(text) if word]


def _parted(piece: str, following: str, abbreviations: Mapping[str, bool]) -> str:
    """A piece whose last full stop is cut off, unless it belongs to an abbreviation, whose inner ones are left out."""
    word = piece.removesuffix(".")
    if not word or word == piece:
        return piece
    if "." in word and _LETTER.search(word):
        return piece.replace(".", "")
    before_number = abbreviations.get(word)
    if before_number is False or re.match("[a-z]", following) or (before_number and re.match("[0-9]", following)):
        return piece
    return f"{word} ."

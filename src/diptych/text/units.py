"""Units of evidence: the sentences of a text, and of one that is too long for an encoder its lines, clauses and words.

Lists, tables, live blogs and transcripts have no sentence ends, and languages without blanks no words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from diptych.text.sentences import LINE_END, Span, split_sentences

# What most sentence encoders read of a text, in tokens: about four letters of English each, one of other scripts.
_LONGEST, _LONGEST_WORD = 128, 32
_LETTERS_A_TOKEN = 4
_BORDERS = (
    re.compile(LINE_END),
    re.compile(r"(?<=[;；。！？।؛])\s*|\t+|\s+(?=[•‣▪●◦·|]\s)"),
)
_BLANK = re.compile(r"\s+")
_JOINER = "\u200d"


def split_units(text: str) -> list[Span]:
    """Where the units of a text are: [start:end] of each, in order, without blanks around, of about 128 tokens at most.

    They do not overlap, and together hold every character that is not blank.

    Raises:
        MissingExtra: sentencex is not installed.
    """
    return [unit for start, end in split_sentences(text) for unit in _parted(text, start, end, 0)]


def word_spans(text: str, start: int, end: int) -> list[Span]:
    """The words of text[start:end]; of what is too long for a word, such as Japanese, its characters."""
    words: list[Span] = []
    for word in _between(_BLANK, text, start, end):
        words += _characters(text, *word) if _weight(text, *word) > _LONGEST_WORD else [word]
    return words


def _parted(text: str, start: int, end: int, level: int) -> Iterator[Span]:
    if _weight(text, start, end) <= _LONGEST:
        yield start, end
    elif level < len(_BORDERS):
        for part in _between(_BORDERS[level], text, start, end):
            yield from _parted(text, *part, level + 1)
    else:
        yield from _filled(text, word_spans(text, start, end))


def _filled(text: str, words: list[Span]) -> Iterator[Span]:
    """As many words in each as there is room for."""
    (start, end), *others = words
    for word in others:
        if _weight(text, start, word[1]) > _LONGEST:
            yield start, end
            start = word[0]
        end = word[1]
    yield start, end


def _between(border: re.Pattern[str], text: str, start: int, end: int) -> Iterator[Span]:
    """The parts between borders that are not blank."""
    begin = start
    for match in border.finditer(text, start, end):
        yield from _stripped(text, begin, match.start())
        begin = match.end()
    yield from _stripped(text, begin, end)


def _stripped(text: str, start: int, end: int) -> Iterator[Span]:
    part = text[start:end]
    if part.strip():
        yield start + len(part) - len(part.lstrip()), start + len(part.rstrip())


def _characters(text: str, start: int, end: int) -> Iterator[Span]:
    """Characters as readers see them: with their accents, and joined emoji whole."""
    for place in range(start + 1, end):
        is_mark = unicodedata.category(text[place])[0] == "M"
        if not is_mark and _JOINER not in text[place - 1 : place + 1]:
            yield start, place
            start = place
    yield start, end


def _weight(text: str, start: int, end: int) -> float:
    """About how many tokens a part of the text has."""
    part = text[start:end]
    num_ascii = len(part) if part.isascii() else len(part.encode("ascii", "ignore"))
    return num_ascii / _LETTERS_A_TOKEN + len(part) - num_ascii

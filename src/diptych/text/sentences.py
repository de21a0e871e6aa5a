"""English text to sentences: the `sentencex` library's rules, and repairs of what they miss in news."""

from __future__ import annotations

import re

from diptych.extras import require

Span = tuple[int, int]

_LINE_ENDS = "\n\x0b\x0c\x1c\x1d\x1e\x85\u2028"  # and U+2029, a paragraph's
LINE_END = f"\r\n|[\r{_LINE_ENDS}\u2029]"
# A line that ends like a sentence ends a paragraph, and so does an empty line; other line breaks are blanks. Paragraph
# by paragraph, a quotation mark that is never closed cannot swallow the rest of the article.
_PARAGRAPH_END = re.compile(
    rf"(?<=[.!?…:;\"'”’)\]])[^\S{_LINE_ENDS}]*[{_LINE_ENDS}]|[{_LINE_ENDS}][^\S{_LINE_ENDS}]*[{_LINE_ENDS}]|\u2029"
)
# False ends: sentencex knows most abbreviations, such as Mr. and Gen., but not these; nor what follows an hour.
_ABBREVIATION = re.compile(r"(?:^|[\s\"“(])(?:Ms|Mx|Ft|Atty|Vol|approx|ca)\.$")
_HOUR = re.compile(r"\b[ap]\.m\.$")
_AFTER_HOUR = re.compile(r"(?:[ECMP][SD]?T|GMT|BST|CES?T|UTC|Eastern|Pacific|[MTWFS][a-z]+day)\b")
_AFTER_BRACKET = re.compile(r"(?<=[.!?][)\]])\s+(?=[\"“(\[]?[A-Z])")
_OPENING = re.compile(r"\s([\"“‘«(\[]+)\s*\Z")
_CONTENT = re.compile(r"\w")
# A quotation counts as one sentence up to this many characters; longer ones fall into their own sentences.
_LONGEST_QUOTATION = 400
# sentencex takes time with the square of a paragraph's length. Of a longer one it is shown this much at a time, and
# what it says of the last part, which what follows may change, does not count.
_WINDOW, _LAST_PART = 10_000, 1_000
_WITHOUT_QUOTES = str.maketrans(dict.fromkeys('"“”„«»‘()[]', " "))


def split_sentences(text: str) -> list[Span]:
    """Where the sentences of a text are: `text[start:end]` of each, in order, without blanks around.

    The spans do not overlap, and together hold every character that is not blank. A quotation of several sentences
    stays whole with what introduces it, unless it is long; no span crosses an empty line.

    Raises:
        MissingExtra: sentencex is not installed.
    """
    spans: list[Span] = []
    start = 0
    for end in [*(match.end() for match in _PARAGRAPH_END.finditer(text)), len(text)]:
        if not text[start:end].isspace():
            spans += _paragraph_sentences(text, start, end)
        start = end
    return spans


def first_sentences(text: str, count: int) -> str:
    """The first sentences of a text, without line breaks; all of it if it has no more."""
    spans = split_sentences(text)[:count]
    return " ".join(text[spans[0][0] : spans[-1][1]].split()) if spans else ""


def _paragraph_sentences(text: str, start: int, end: int) -> list[Span]:
    spans: list[Span] = []
    for sentence in _split(text[start:end], start):
        whole = [sentence]
        if sentence[1] - sentence[0] > _LONGEST_QUOTATION:
            whole = _split(text[sentence[0] : sentence[1]].translate(_WITHOUT_QUOTES), sentence[0])
        for span in whole:
            spans += _split_after_brackets(text, span)
    return _repaired(text, spans)


def _split(paragraph: str, offset: int) -> list[Span]:
    require("sentencex")
    import sentencex

    spans: list[Span] = []
    start = 0
    while start < len(paragraph):
        end = start + _WINDOW
        part = paragraph[start:end]
        if end < len(paragraph) and part.count('"') % 2:  # one mark without its other changes all others' meaning
            part = part[: part.rindex('"')] or part
        boundaries = sentencex.get_sentence_boundaries("en", part)
        if end < len(paragraph):
            boundaries = [one for one in boundaries if one["end_index"] <= _WINDOW - _LAST_PART] or boundaries[:1]
        spans += [(offset + start + one["start_index"], offset + start + one["end_index"]) for one in boundaries]
        start = spans[-1][1] - offset if boundaries else end
    return spans


def _split_after_brackets(text: str, span: Span) -> list[Span]:
    cuts = [match.start() for match in _AFTER_BRACKET.finditer(text, *span)]
    return list(zip([span[0], *cuts], [*cuts, span[1]], strict=True))


def _repaired(text: str, spans: list[Span]) -> list[Span]:
    """Spans without blanks around them, opening marks moved to the sentence that they open, false ends undone."""
    ends = [end for _, end in spans]
    for position, (start, end) in enumerate(spans[:-1]):
        opening = _OPENING.search(text[start:end])
        if opening:
            ends[position] = start + opening.start(1)
    repaired: list[Span] = []
    for start, end in zip([spans[0][0], *ends[:-1]] if spans else [], ends, strict=True):
        part = text[start:end]
        if not part.strip():
            continue
        span = (start + len(part) - len(part.lstrip()), start + len(part.rstrip()))
        if repaired and _belong_together(text[slice(*repaired[-1])], text[slice(*span)]):
            span = (repaired.pop()[0], span[1])
        repaired.append(span)
    return repaired


def _belong_together(before: str, after: str) -> bool:
    hour = _HOUR.search(before) and _AFTER_HOUR.match(after)
    return bool(hour or _ABBREVIATION.search(before) or not _CONTENT.search(after))

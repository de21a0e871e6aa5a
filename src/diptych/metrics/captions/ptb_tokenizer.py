"""The tokens on which COCO's caption evaluation counts n-grams: Penn Treebank style, lower case, little punctuation.

That evaluation (pycocoevalcap) has Stanford CoreNLP 3.4.1's tokenizer read all captions of a corpus in one run, one a
line, and removes a list of punctuation. So do we, by the same rules (`ptb_rules`), and the tokens are equal; where that
program splits or joins oddly, so does this: "end.Then" is one token, "Qur'an" is two, "word.," keeps the full stop,
emoji vanish.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from diptych.text.longest_match import LongestMatch

# What the evaluation removes. Brackets are not in its list as the tokenizer writes them (-lrb-), so they stay.
REMOVED = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])

_SOFT_HYPHEN = "\xad"
_AND = re.compile("&amp;", re.IGNORECASE)
_JAVA_WORD = re.compile(r"[\w\-\".'\u2019\u0300-\u036f]+")
_ROUND_BRACKETS = str.maketrans({"(": "-lrb-", ")": "-rrb-", " ": "\xa0"})
_CURLY_QUOTES = str.maketrans(
    {sign: written for signs, written in {
        "\x91\u2018\u201b\u2039": "`", "\x92\u2019\u203a": "'", "\x93\u201c\xab": "``", "\x94\u201d\xbb": "''",
    }.items() for sign in signs}
)  # fmt: skip
_SIGNS = {"&lt;": "<", "&gt;": ">", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-", "(": "-lrb-", ")": "-rrb-"}
_SIGNS |= {"\xbc": "1/4", "\xbd": "1/2", "\xbe": "3/4", "\u2153": "1/3", "\u2154": "2/3"}
_SIGNS |= {"\xa2": "cents", "\xa3": "#", "\x80": "$", "\xa4": "$", "\u20a0": "$", "\u20ac": "$"}


def _quote(token: str, single: str, double: str) -> str:
    for sign, written in (("&apos;", single), ("'", single), ('"', double), ("&quot;", double)):
        token = token.replace(sign, written)
    return token.translate(_CURLY_QUOTES)


def _lower(token: str) -> str:
    """In lower case, as Java writes it: a sigma is final where no letter with a case follows within Java's word."""
    if "\u03a3" not in token:
        return token.lower()
    characters = list(token)
    for word in _JAVA_WORD.finditer(token):
        cased = [place for place in range(*word.span()) if characters[place].lower() != characters[place].upper()]
        if len(cased) > 1 and characters[cased[-1]] == "\u03a3":
            characters[cased[-1]] = "\u03c2"
    return "".join(characters).replace("\u03a3", "\u03c3").lower()


# How the tokens of a rule are written, by the name of the rule; what ends a sentence is written in `_read`.
_WRITTEN: Mapping[str, Callable[[str], str]] = {
    "as it is": str,
    "word": lambda token: token.replace(_SOFT_HYPHEN, "") or "-",
    "with blanks": lambda token: token.replace(" ", "\xa0"),
    "with round brackets": lambda token: token.translate(_ROUND_BRACKETS),
    "with and": lambda token: _AND.sub("&", token),
    "one sign": lambda token: _SIGNS.get(token.lower(), token),
    "dash": lambda token: "--",
    "hyphens": lambda token: "--" if len(token) in (3, 4) else token,
    "ellipsis": lambda token: "...",
    "opening quote": lambda token: _quote(token, "`", "``"),
    "closing quote": lambda token: _quote(token, "'", "''"),
}
# Line breaks within a text are blanks: in the evaluation, but for the first, they shift all captions after them.
_LINE_BREAK = re.compile("[\n\r\x0b\x0c\u2028\u2029]")
_BEYOND_16_BITS = re.compile("[\U00010000-\U0010ffff]")
_MOST_REMEMBERED = 1 << 17
# What was read, by piece of text between two blanks (with the line break that ends it; with the blank and the character
# after it where that counts).
_REMEMBERED: dict[str, tuple[str, ...]] = {}


def tokenize(texts: Sequence[str]) -> list[list[str]]:
    """The tokens of each caption or article of a corpus, in order; none for a text of punctuation alone.

    The texts are read as one corpus, in the order given, one a line: a last "A." is "a." or "a", as the next text
    begins. pycocoevalcap reads the predictions as one corpus and the references as another, item by item.

    A telephone number or a mixed number written with blanks ("2 1/2") is one token, with no-break spaces inside, as
    in Stanford's output. Any white space separates, line breaks too.

    Raises:
        ValueError: `texts` is one text instead of a list.
    """
    if isinstance(texts, str):
        raise ValueError("expected a list of texts, found one text; put it in a list")
    corpus = "\n".join(texts)
    if len(_LINE_BREAK.findall(corpus)) >= len(texts):
        corpus = "\n".join([_LINE_BREAK.sub(" ", text) for text in texts])
    as_utf_16 = _BEYOND_16_BITS.search(corpus) is not None
    if as_utf_16:  # as Java sees them, in two halves
        corpus = _BEYOND_16_BITS.sub(_halves, corpus)
    if len(_REMEMBERED) > _MOST_REMEMBERED:
        _REMEMBERED.clear()
    all_tokens = []
    start = 0
    for _ in texts:
        stop = corpus.find("\n", start)
        stop = len(corpus) if stop < 0 else stop
        tokens = _line(corpus, start, stop)
        if as_utf_16:
            tokens = [token.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for token in tokens]
        all_tokens.append(tokens)
        start = stop + 1
    return all_tokens


def _line(corpus: str, start: int, stop: int) -> list[str]:
    tokens: list[str] = []
    remembered, first, num_before = _REMEMBERED.get, start, 0
    while (end := corpus.find(" ", start, stop)) >= 0:
        known, position = remembered(corpus[start:end]), end
        if known is None:
            known = remembered(corpus[start : end + 2])
        if known is None:
            known, position = _read(corpus, start, end, stop)
        tokens += known
        if position > end:  # over a blank, and perhaps into the middle of a piece
            start, first, num_before = position, position, len(tokens)
        else:
            start = end + 1
    known = None
    if stop < len(corpus):
        known = remembered(corpus[start:stop] + "\n")
        if known is None:
            known = remembered(corpus[start : stop + 2])
    tokens += _read(corpus, start, stop, stop)[0] if known is None else known
    if len(tokens) > num_before and tokens[-1][-1].isspace() and corpus[first:stop].rstrip(" ")[-1].isspace():
        tokens[-1] = tokens[-1].rstrip()  # the evaluation strips the line
    return tokens


def _read(corpus: str, start: int, end: int, stop: int) -> tuple[tuple[str, ...], int]:
    """The tokens that begin from `start` to before `end`, where a blank or the line ends, and where to go on."""
    match = _scanner().match
    position = rests_on = start
    tokens: list[str] = []
    while position < end:
        begin = position
        rule, position, looked_at = match(corpus, begin, len(corpus))
        if position > stop:  # a tag over two lines, which the evaluation mistakes for one line
            rule, position, looked_at = match(corpus, begin, stop)
        rests_on = max(rests_on, looked_at)
        if rule is None or rule.name == "nothing":
            position = max(position, begin + 1)
            continue
        token = corpus[begin:position]
        if rule.name == "end of sentence":  # its full stop counts twice, that of a single letter does not
            position -= 1
            written = token if len(token) > 2 else token[:-1]
        else:
            written = _WRITTEN[rule.name](token)
        tokens += [part for part in _lower(written).split(" ") if part not in REMOVED]
    found = tuple(tokens)
    if position == end and rests_on <= min(end + 1, len(corpus)):
        _REMEMBERED[corpus[start:end] if end < stop else corpus[start : end + 1]] = found
    elif position == end and rests_on == end + 2 <= len(corpus):
        _REMEMBERED[corpus[start : end + 2]] = found
    return found, position


@cache
def _scanner() -> LongestMatch:
    from diptych.metrics.captions.ptb_rules import DEFINITIONS, RULES

    return LongestMatch(RULES, DEFINITIONS)


def _halves(character: re.Match[str]) -> str:
    pair = character[0].encode("utf-16-be")
    return pair[:2].decode("utf-16-be", "surrogatepass") + pair[2:].decode("utf-16-be", "surrogatepass")

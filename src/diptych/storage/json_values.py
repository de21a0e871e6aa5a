"""JSON that comes from outside: bounded in depth, and all its texts can be written again.

The one place of the house where JSON becomes values. Python's own reader follows brackets until its stack ends, and
gives halves of surrogate pairs (`"\\ud83d"`), which no file, database or page can hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

DEEPEST = 100  # brackets within brackets; our own files have less than ten, and later code walks values by recursion
_LONGEST_NUMBER = 4300  # digits, which is where Python stops reading them

Pairs = Callable[[list[tuple[str, Any]]], Any]

_HALF = re.compile("[\ud800-\udfff]")
_WRITTEN_HALF = re.compile(  # without its other half
    r"\\u[dD](?:[89abAB]..(?!\\u[dD][c-fC-F])|[c-fC-F](?<!\\u[dD][89abAB]..\\u[dD][c-fC-F]))"
)
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)


class NoJSON(ValueError):
    """A text that is no JSON, or none that is read: `reason`, and where, `line` and `column` from 1."""

    def __init__(self, reason: str, text: str, place: int) -> None:
        self.reason = reason
        self.line = text.count("\n", 0, place) + 1
        self.column = place - text.rfind("\n", 0, place)
        super().__init__(f"{reason}, line {self.line}, column {self.column}")


def json_value(text: str | bytes, pairs: Pairs | None = None) -> Any:
    """The JSON value that is the whole text (bytes: UTF-8, with or without a byte order mark). Halves of surrogate
    pairs in it, keys included, become U+FFFD.

    `pairs` makes something else than a dict of an object's keys and values, of which a dict would hide the repeated
    ones; what it raises comes through.

    Raises:
        NoJSON: it is no JSON, nested more than `DEEPEST` times, or holds a number of more digits than Python reads.
        UnicodeDecodeError: bytes that are not UTF-8.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    _check_depth(text)
    halves = _HALF.search(text) or _WRITTEN_HALF.search(text)
    own: Pairs | None = None
    if halves:
        own = _encodable_pairs if pairs is None else lambda items: pairs(_encodable_items(items))
    told = _Telling(own or pairs)
    try:
        value = json.loads(text, object_pairs_hook=told if own or pairs else None)
    except json.JSONDecodeError as error:
        raise NoJSON(error.msg, text, error.pos) from None
    except ValueError as error:
        if told.error is error:
            raise
        raise NoJSON(f"a number of more than {_LONGEST_NUMBER:,} digits", text, 0) from None
    return encodable_value(value) if halves else value


def json_objects(text: str) -> list[dict[str, Any]]:
    """Every JSON object in a text that may hold anything else around them, those inside others after them; as
    `json_value` has them, except that raw control characters in strings are read, as models write them.
    """
    decoder = json.JSONDecoder(strict=False)
    found = []
    for start in (match.start() for match in re.finditer(r"\{", text)):
        try:
            value, end = decoder.raw_decode(text, start)
            _check_depth(text[start:end])
        except (ValueError, RecursionError):
            continue
        found.append(encodable_value(value))
    return found


def encodable(text: str) -> str:
    """The text with every half of a surrogate pair replaced by U+FFFD, so that UTF-8 can hold it; two halves that
    belong together become their character.
    """
    if _HALF.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def encodable_value(value: Any) -> Any:
    """The value with every text in its lists and dicts, keys included, as `encodable` has it.

    Raises:
        ValueError: two keys of a dict are the same then.
    """
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, list):
        return [encodable_value(item) for item in value]
    if isinstance(value, dict):
        return _encodable_pairs(list(value.items()))
    return value


def _encodable_items(items: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [(encodable_value(key), encodable_value(value)) for key, value in items]


def _encodable_pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
    given, written = dict(items), dict(_encodable_items(items))
    if len(written) < len(given):
        raise ValueError("two keys differ only in halves of surrogate pairs, which no file can hold")
    return written


class _Telling:
    """A `pairs` that remembers what it raised: json raises its own kind of ValueError for other things."""

    def __init__(self, pairs: Pairs | None) -> None:
        self._pairs: Pairs = pairs or dict
        self.error: ValueError | None = None

    def __call__(self, items: list[tuple[str, Any]]) -> Any:
        try:
            return self._pairs(items)
        except ValueError as error:
            self.error = error
            raise


def _check_depth(text: str) -> None:
    if text.count("[") + text.count("{") <= DEEPEST or _depth(text) <= DEEPEST:
        return
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match[0], 0)
        if depth > DEEPEST:
            raise NoJSON(f"nested more than {DEEPEST} times", text, match.start())


def _depth(text: str) -> int:
    """How many brackets within brackets, strings left out: at a tenth of the cost of reading the JSON."""
    import numpy as np

    encoded = text.encode("utf-8", "replace").replace(rb"\\", b"").replace(rb"\"", b"")
    signs = np.frombuffer(encoded, np.uint8)
    signs = signs[np.cumsum(signs == ord('"'), dtype=np.uint8) % 2 == 0]
    steps = np.isin(signs, (ord("["), ord("{"))).astype(np.int8) - np.isin(signs, (ord("]"), ord("}")))
    return int(np.cumsum(steps, dtype=np.int64).max(initial=0))

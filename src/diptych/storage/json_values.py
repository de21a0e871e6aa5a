"""JSON that comes from outside: bounded in depth, and all its texts can be written again.

The one place of the house where JSON becomes values, and values become JSON. Python's own reader follows brackets until
its stack ends, and gives halves of surrogate pairs (`"\\ud83d"`), which no file, database or page can hold.

What a text from outside may hold is decided here too, by `encodable`, for all entrances alike: JSON, YAML, CSV, answers
of servers, names of files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

DEEPEST = 100  # brackets within brackets; our own files have less than ten, and later code walks values by recursion
_LONGEST_NUMBER = 4300  # digits, which is where Python stops reading them

Pairs = Callable[[list[tuple[str, Any]]], Any]

_UNWRITABLE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_ESCAPED_UNWRITABLE = re.compile(  # a half without its other half, or a control character
    r"\\(?:u(?:[dD](?:[89abAB]..(?!\\u[dD][c-fC-F])|[c-fC-F](?<!\\u[dD][89abAB]..\\u[dD][c-fC-F]))|00[01789])|[bf])"
)
_CONTROLS = {
    code: " " if chr(code).isspace() else "\ufffd"
    for code in (*range(0x20), *range(0x7F, 0xA0))
    if chr(code) not in "\t\n\r"
}
_CONTROL_BYTES = bytes(code for code in _CONTROLS if code < 0x80)
_HIGH_CONTROL = re.compile(rb"\xc2[\x80-\x9f]")
_NOT_ASCII = re.compile(r"[^\0-\x7f]")
_LAX = json.JSONDecoder(strict=False)
_OBJECT = re.compile(r"\{(?=\s{0,1000}[\"}])")  # where one may begin
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)


class NoJSON(ValueError):
    """A text that is no JSON, or none that is read: `reason`, and where, `line` and `column` from 1."""

    def __init__(self, reason: str, text: str, place: int) -> None:
        self.reason = reason
        self.line = text.count("\n", 0, place) + 1
        self.column = place - text.rfind("\n", 0, place)
        super().__init__(f"{reason}, line {self.line}, column {self.column}")


def json_value(text: str | bytes, pairs: Pairs | None = None) -> Any:
    """The JSON value that is the whole text (bytes: UTF-8, with or without a byte order mark). Its texts, keys
    included, are as `encodable` has them.

    `pairs` makes something else than a dict of an object's keys and values, of which a dict would hide the repeated
    ones; what it raises comes through.

    Raises:
        NoJSON: it is no JSON, nested more than `DEEPEST` times, or holds a number of more digits than Python reads; or
            two keys of an object, which were different, are equal as `encodable` has them.
        UnicodeDecodeError: bytes that are not UTF-8.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    _check_depth(text)
    changes = _holds_unwritable(text)
    own: Pairs | None = None
    if changes:
        own = _encodable_pairs if pairs is None else lambda items: pairs(_encodable_items(items))
    told = _Telling(own or pairs)
    try:
        value = json.loads(text, object_pairs_hook=told if own or pairs else None)
    except json.JSONDecodeError as error:
        raise NoJSON(error.msg, text, error.pos) from None
    except _KeysBecameOne as error:
        raise NoJSON(str(error), text, 0) from None
    except ValueError as error:
        if told.error is error:
            raise
        raise NoJSON(f"a number of more than {_LONGEST_NUMBER:,} digits", text, 0) from None
    return encodable_value(value) if changes else value


def first_json_value(text: str, start: int) -> tuple[Any, int]:
    """The JSON value that begins at `text[start]`, whatever comes after it, and where it ends; as `json_value` has it,
    except that raw control characters in strings are read, as scraped texts have them.

    Raises:
        json.JSONDecodeError: it is none, or its end is missing.
        NoJSON: as `json_value`; its line and column are those in the value.
    """
    try:
        value, end = _LAX.raw_decode(text, start)
    except json.JSONDecodeError:
        raise
    except RecursionError:
        raise NoJSON(f"nested more than {DEEPEST} times", "", 0) from None
    except ValueError:
        raise NoJSON(f"a number of more than {_LONGEST_NUMBER:,} digits", "", 0) from None
    own = text[start:end]
    _check_depth(own)
    if _holds_unwritable(own):
        try:
            value = encodable_value(value)
        except _KeysBecameOne as error:
            raise NoJSON(str(error), own, 0) from None
    return value, end


def json_objects(text: str) -> list[dict[str, Any]]:
    """Every JSON object in a text that may hold anything else around them, those inside others after them; as
    `json_value` has them, except that raw control characters in strings are read, as models write them.

    The work is bounded, by a small multiple of the text's length: of a text that is made to take long, with brackets
    that are never closed, the rest is left unread.
    """
    found = []
    work, most = 0, 10 * len(text) + 1_000_000
    for start in (match.start() for match in _OBJECT.finditer(text)):
        if work > most:
            break
        work += 500
        try:
            value, end = first_json_value(text, start)
            work += 2 * (end - start)
            found.append(value)
        except NoJSON:  # it may have been read to the end
            work += 10_000 + len(text) - start
        except json.JSONDecodeError as error:  # to say where it is, its lines have been counted
            work += error.pos - start + error.pos // 16
    return found


def json_text(value: Any, indent: int | None = None, ascii_only: bool = False) -> str:
    """The value as JSON. Whatever its texts hold, the result can be written as UTF-8: what comes from outside was made
    so where it came in, this is for what did not.
    """
    if ascii_only:
        text = json.dumps(value, indent=indent)
        if "\\ud" not in text:
            return text
    text = encodable(json.dumps(value, indent=indent, ensure_ascii=False))
    return _NOT_ASCII.sub(lambda match: json.dumps(match[0])[1:-1], text) if ascii_only else text


def encodable(text: str) -> str:
    """A text from outside as files, databases, pages and terminals can hold it: the rule for all entrances.

    Halves of surrogate pairs become U+FFFD; two halves that belong together become their character. Control characters
    become U+FFFD too, those that are blanks (form feed, next line, ...) a space; tab, line feed and carriage return
    stay. All else stays, and so does the length, but where halves become one.
    """
    if _UNWRITABLE.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").translate(_CONTROLS)


def encodable_value(value: Any) -> Any:
    """The value with every text in its lists and dicts, keys included, as `encodable` has it.

    Raises:
        ValueError: two keys of a dict are the same then.
    """
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, list | tuple):
        return [encodable_value(item) for item in value]
    if isinstance(value, dict):
        return _encodable_pairs(list(value.items()))
    return value


def _encodable_items(items: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [(encodable_value(key), encodable_value(value)) for key, value in items]


def _encodable_pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
    given, written = dict(items), dict(_encodable_items(items))
    if len(written) < len(given):
        first: dict[str, str] = {}
        for key in given:
            if (other := first.setdefault(encodable_value(key), key)) != key:
                raise _KeysBecameOne(
                    f"the keys {other!r:.80} and {key!r:.80} differ only in characters that no file can hold"
                )
    return written


class _KeysBecameOne(ValueError):
    """Two keys of one object are equal, now that files can hold them."""


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


def _holds_unwritable(text: str) -> bool:
    """Whether a text in this JSON may be one that `encodable` changes."""
    if "\\" in text and _ESCAPED_UNWRITABLE.search(text) is not None:
        return True
    try:
        data = text.encode()  # in bytes it takes a tenth of the time
    except UnicodeEncodeError:
        return True
    return len(data.translate(None, _CONTROL_BYTES)) < len(data) or _HIGH_CONTROL.search(data) is not None


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

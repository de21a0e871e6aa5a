"""A JSON object too large for memory, member by member.

Laxer than the JSON standard in one point: strings may hold raw control characters, which scraped news texts do.
As all JSON from outside it is bounded in depth, and its texts are as `encodable` has them.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from diptych.storage.json_values import NoJSON, first_json_value

# Characters that one member may take: bounds what a missing bracket at the start can pull into memory.
LONGEST_MEMBER = 1 << 24
_CHUNK = 1 << 20
_BLANKS = re.compile(r"[ \t\n\r]*")


class Member(NamedTuple):
    """One key of the object with its value, and the line (from 1) that the key stands on."""

    key: str
    value: Any
    line: int


def stream_members(file: BinaryIO, path: Path, longest: int = LONGEST_MEMBER) -> Iterator[Member]:
    """The members of the JSON object that is the whole of `file` (UTF-8, with or without byte order mark), in order.

    Holds about two chunks of a megabyte, or of the longest member's length, at a time. A key that occurs twice comes
    twice. `path` is what errors call the file.

    Raises:
        ValueError: not UTF-8, not JSON, nested too deeply, not an object, something after it, or a member longer than
            `longest` characters; names the line, and the key where there is one.
    """
    reader = _Reader(file, path, longest)
    if (first := reader.take()) != "{":
        raise ValueError(f"{path}: expected a JSON object of ids to records, found {_shown(first)}")
    mark = reader.peek()
    if mark == "}":
        reader.take()
    while mark != "}":
        reader.peek()
        line = reader.line()
        key = reader.value("a key")
        if not isinstance(key, str):
            raise reader.error(f"expected a key in double quotes, found {key!r:.80}")
        if reader.take() != ":":
            raise reader.error(f"expected ':' after the key {key!r:.80}")
        yield Member(key, reader.value(f"the value of {key!r:.80}"), line)
        mark = reader.take()
        if mark not in (",", "}"):
            raise reader.error(f"expected ',' or '}}' after the value of {key!r:.80}, found {_shown(mark)}")
    if after := reader.peek():
        raise reader.error(f"expected the end of the file after the object, found {_shown(after)}")


def _shown(mark: str) -> str:
    return repr(mark) if mark else "the end of the file: is it cut off?"


class _Reader:
    """A window over the file's text, which moves on as its content is used."""

    def __init__(self, file: BinaryIO, path: Path, longest: int) -> None:
        self._file, self._path, self._longest = file, path, longest
        self._bytes = codecs.getincrementaldecoder("utf-8-sig")()
        self._text, self._at, self._ended = "", 0, False
        self._line, self._counted = 1, 0  # the line number at `_counted`, which is never after `_at`

    def line(self) -> int:
        """The number of the line where the window stands."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def error(self, message: str, after: int = 0) -> ValueError:
        """An error that opens with the file and the line, `after` characters further on."""
        line = self.line() + self._text.count("\n", self._at, self._at + after)
        return ValueError(f"{self._path}, line {line}: {message}")

    def peek(self) -> str:
        """The next character that is not blank, or an empty string at the end; the window stands on it."""
        while True:
            if blanks := _BLANKS.match(self._text, self._at):
                self._at = blanks.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_on():
                return ""

    def take(self) -> str:
        """As `peek`, and the window stands behind it."""
        mark = self.peek()
        self._at += len(mark)
        return mark

    def value(self, name: str) -> Any:
        """The next JSON value; ValueError calls it `name`."""
        self.peek()
        while True:
            try:
                value, end = first_json_value(self._text, self._at)
            except json.JSONDecodeError as error:
                # Not JSON, or not all of it yet. Only more text can tell, so read twice as much: a value of any
                # length is then decoded at a cost in proportion to it.
                reason, after = error.msg, error.pos - self._at
                if self._grow():
                    continue
                if len(self._text) - self._at > self._longest:
                    reason += f", or longer than {self._longest:,} characters"
                raise self.error(f"{name} is not valid JSON ({reason})", after) from None
            except NoJSON as error:
                raise self.error(f"{name} is no record ({error.reason})") from None
            length, at_end = end - self._at, end == len(self._text)
            if at_end and self._grow():
                continue  # a number may go on
            self._at += length
            return value

    def _grow(self) -> bool:
        """Doubles what the window holds; it may move. False at the end of the file and beyond the longest member."""
        held = len(self._text) - self._at
        if held > self._longest:
            return False
        grown = False
        while len(self._text) - self._at < max(2 * held, 1) and self._read_on():
            grown = True
        return grown

    def _read_on(self) -> bool:
        """Forgets what was used and adds a chunk; False at the end of the file."""
        if self._ended:
            return False
        data = self._file.read(_CHUNK)
        self._ended = not data
        try:
            text = self._bytes.decode(data, final=self._ended)
        except UnicodeDecodeError as error:
            bad = error.object[error.start]
            line = self.line() + self._text.count("\n", self._at) + error.object[: error.start].count(b"\n")
            raise ValueError(f"{self._path}, line {line}: not UTF-8 text (byte 0x{bad:02x})") from None
        self.line()
        self._text, self._at, self._counted = self._text[self._at :] + text, 0, 0
        return not self._ended

"""Texts of others on a terminal: what it would obey, such as escapes that move, recolour or rename, is shown instead.

Records, names, metrics and errors may come from a stranger's files. Whatever a command prints goes through `printable`,
in a log through `PrintableRecord`, on a screen of rich through `terminal.PlainConsole`.
"""

from __future__ import annotations

import logging
import re

# Controls but tabs and line breaks, signs that turn the direction of writing, and halves of surrogate pairs.
_OBEYED = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """The text with every sign that a terminal obeys, but tabs and line breaks, replaced by U+FFFD."""
    return _OBEYED.sub("\N{REPLACEMENT CHARACTER}", text)


class PrintableRecord(logging.LogRecord):
    """A line of the log, printable: `logging.setLogRecordFactory(PrintableRecord)`."""

    def getMessage(self) -> str:
        """The message with its arguments."""
        return printable(super().getMessage())

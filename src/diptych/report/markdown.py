"""Texts of others in Markdown: they stand there as text, whatever they hold."""

from __future__ import annotations

import re

_LINE_BREAKS = re.compile("[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]+")
# Signs that begin HTML, links, pictures, code, emphasis, formulas or strikings, and headings where a line begins; then
# those of addresses, which programs follow although nothing marks them. Intervals such as [0.1, 2.0] stay as they are.
_MARKS = re.compile(
    r"[&<>\\`*~$]|\[(?!-?[\d.]+, -?[\d.]+\](?![(\[:]))|\b_+|_+\b|^\s*#|(?<=\w):(?=//)|(?i:(?<=\bwww)\.)|(?<=\w)@(?=\w)"
)
_PLAIN = re.compile(r"[\w./()@+=, -]+")


def markdown_text(text: str) -> str:
    """The text on one line; each sign that Markdown or HTML would follow is a character reference."""
    return _MARKS.sub(_referred, _LINE_BREAKS.sub(" ", text))


def markdown_cell(value: object) -> str:
    """As `markdown_text`, within a table."""
    return markdown_text(str(value)).replace("|", "\\|")


def markdown_code(text: str) -> str:
    """A name in code type; as ordinary text where it holds a sign that is in no name."""
    return f"`{text}`" if _PLAIN.fullmatch(text) else markdown_text(text)


def _referred(match: re.Match[str]) -> str:
    return "".join(sign if sign.isspace() else f"&#{ord(sign)};" for sign in match[0])

"""Cells of tables that people open in spreadsheet programs, which take texts of some beginnings for formulas.

So are `sweep.csv` and `metrics.csv` written. Files of captions, submissions and generated sets are not: programs read
them, and a caption that begins with a dash is another one with an apostrophe in front.
"""

from __future__ import annotations

from typing import Any

_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # full-width ones, too


def harmless_cell(value: Any) -> Any:
    """The value of a cell that no program takes for a formula: such a text gets an apostrophe in front, which
    spreadsheets do not show. Numbers, and texts that are numbers, stay.
    """
    if not isinstance(value, str) or not value.startswith(_BEGINNINGS):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value

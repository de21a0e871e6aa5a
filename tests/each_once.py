"""Combinations in which every value occurs, without all combinations: for rules that hold place by place."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any


def each_once(*values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """As many tuples as the longest sequence has values; each value of each sequence is in at least one."""
    length = max(map(len, values))
    return list(zip(*(islice(cycle(one), length) for one in values), strict=True))

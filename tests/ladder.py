"""The rungs above the fast one: marked in the test files, known without importing them."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

SLOWER = ("processes", "models", "slow")
_OF_A_MODULE = re.compile(rf"^pytestmark = pytest\.mark\.({'|'.join(SLOWER)})\b", re.MULTILINE)


@functools.cache
def slower_rung(path: Path) -> str | None:
    """The rung of all tests of a file, as its line `pytestmark = pytest.mark.<rung>` says; None of a file without."""
    found = _OF_A_MODULE.search(path.read_text()) if path.suffix == ".py" else None
    return found and found[1]


def in_turns(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The tests file by file: the slower rungs' files spread over the first three quarters of the others."""
    files = [list(tests) for _, tests in itertools.groupby(items, key=lambda item: item.path)]
    slower = [tests for tests in files if slower_rung(tests[0].path)]
    others = [tests for tests in files if not slower_rung(tests[0].path)]
    between = len(others) * 3 // 4 // max(1, len(slower))
    order = []
    for position, tests in enumerate(slower):
        order += [tests, *others[position * between : (position + 1) * between]]
    return [test for tests in [*order, *others[len(slower) * between :]] for test in tests]

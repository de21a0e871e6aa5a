"""The rungs above the fast one: marked in the test files, known without importing them."""

from __future__ import annotations

import functools
import re
from pathlib import Path

SLOWER = ("processes", "models", "slow")
_OF_A_MODULE = re.compile(rf"^pytestmark = pytest\.mark\.({'|'.join(SLOWER)})\b", re.MULTILINE)


@functools.cache
def slower_rung(path: Path) -> str | None:
    """The rung of all tests of a file, as its line `pytestmark = pytest.mark.<rung>` says; None of a file without."""
    found = _OF_A_MODULE.search(path.read_text()) if path.suffix == ".py" else None
    return found and found[1]

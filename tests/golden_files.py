"""Files that others' code has written: those in the repository, and those that lie beside it on some machines."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
COMMITTED = TESTS / "assets/golden"
SKIPPED = "golden check skipped: "  # begins the reasons that are counted at the end of the test run


def beside_the_checkout(name: str) -> Path:
    """A file or folder of `../shared`; skips the test where it is not."""
    path = TESTS.parent / "../shared" / name
    if not path.exists():
        pytest.skip(f"{SKIPPED}../shared/{name} is not beside the checkout")
    return path

"""How long tests wait: long enough for the slowest machine. A limit ends a hang; it measures nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

SECONDS = float(os.environ.get("DIPTYCH_TESTS_PATIENCE", "1800"))


def wait_until(condition: Callable[[], object], why: Callable[[], str] = lambda: "", pause: float = 0.01) -> None:
    """Returns when the condition holds; a hang fails the test, with what `why` tells."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not so after {SECONDS:.0f} s: {why()}"
        time.sleep(pause)

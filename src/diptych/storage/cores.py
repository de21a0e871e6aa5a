"""How many processes of this machine can compute at once."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Processors that this process may use: those of its job, where it is one of a cluster's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""How much room a disk has left, in words for messages."""

from __future__ import annotations

import shutil
from pathlib import Path

_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def free_bytes(folder: Path) -> int:
    """The bytes that may still be written in the folder, or in the nearest one above it that is there."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    return shutil.disk_usage(there).free


def size_in_words(num_bytes: float) -> str:
    """For example `3.2 GB`."""
    for size, unit in _UNITS:
        if num_bytes >= size:
            return f"{num_bytes / size:.1f} {unit}"
    return f"{num_bytes:.0f} bytes"

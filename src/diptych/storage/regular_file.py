"""Opening files that somebody names: only files, since a pipe or a device may never end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: Path) -> BinaryIO:
    """The file, open for reading, links followed. Nothing is waited for: not for who would write into a pipe either.

    Raises:
        OSError: it cannot be opened, or is a folder, pipe, socket or device.
    """
    if "\0" in str(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    mode = path.stat().st_mode  # before opening, which some devices take for an order
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a pipe, socket or device; copy what it gives into a file", str(path))
    return open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")  # noqa: PTH123

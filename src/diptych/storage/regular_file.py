"""Reading files that somebody names: only files, since a pipe or a device may never end, and of bounded size."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: str | Path) -> BinaryIO:
    """The file, open for reading, links followed. Nothing is waited for: not for who would write into a pipe either.

    Raises:
        OSError: it cannot be opened, or is a folder, pipe, socket or device.
    """
    if "\0" in str(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    mode = os.stat(path).st_mode  # noqa: PTH116  before opening, which some devices take for an order
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder; name a file", str(path))
    if not stat.S_ISREG(mode):
        kind = "pipe" if stat.S_ISFIFO(mode) else "socket" if stat.S_ISSOCK(mode) else "device"
        raise OSError(errno.EINVAL, f"it is a {kind}; name a file", str(path))
    return open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")  # noqa: PTH123


def read_regular(path: str | Path, most: int) -> bytes:
    """The content of a file.

    Raises:
        OSError: as `open_regular`, or (EFBIG) it has more than `most` bytes.
    """
    with open_regular(path) as file:
        data = file.read(most + 1) if os.fstat(file.fileno()).st_size <= most else None
    if data is None or len(data) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", str(path))
    return data


def content_of(path: Path, most: int, advice: str = "", missing_ok: bool = False) -> bytes | None:
    """As `read_regular`, for readers of texts: None where there is no file, with `missing_ok`.

    Raises:
        ValueError: the file is not there, or as `read_regular`; names it and ends in the `advice`.
    """
    then = f"; {advice}" if advice else ""
    try:
        return read_regular(path, most)
    except FileNotFoundError:
        if missing_ok:
            return None
        raise ValueError(f"{path} is not there{then}") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}{then}") from None

"""Locks between processes, also of machines that share a folder; the kernel frees them when a process dies."""

from __future__ import annotations

import fcntl
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.5


@contextmanager
def locked(path: Path, patience: float | None = None, busy: str = "") -> Iterator[None]:
    """Holds the lock file `path` (made if needed, left behind) while the block runs.

    Another holder is waited for: for ever, or `patience` seconds, after which ValueError says `busy`. On a file system
    without locks (some mounts of Lustre) a warning is logged and nothing is guarded.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        _wait_for(file, path, patience, busy or f"{path} is held by another process")
        yield


def _wait_for(file: object, path: Path, patience: float | None, busy: str) -> None:
    since, told = time.monotonic(), False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if patience is not None and time.monotonic() - since >= patience:
                raise ValueError(busy) from None
        except OSError as error:
            log.warning("%s cannot be locked (%s): two processes at once would not be noticed", path, error)
            return
        if not told:
            log.info("waiting for the process that holds %s", path)
            told = True
        time.sleep(_POLL_SECONDS)

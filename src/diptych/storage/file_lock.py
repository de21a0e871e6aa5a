"""Locks between processes, also of machines that share a folder; the kernel frees them when a process dies."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
# Seconds for the process that ran in a folder before to end: after a kill its locks are soon free, on most machines.
RUN_PATIENCE = float(os.environ.get("DIPTYCH_LOCK_PATIENCE", "120"))


@contextmanager
def locked(path: Path, patience: float | None = None, busy: str = "", advice: str = "") -> Iterator[None]:
    """Holds the lock file `path` (made if needed, left behind) while the block runs.

    Another holder is waited for: for ever, or `patience` seconds, after which ValueError says `busy`. On a file system
    without locks (some mounts of Lustre) a warning is logged and nothing is guarded.

    Raises:
        ValueError: the lock is held for too long, or its folder cannot be written to; `advice` says what to do then.
    """
    with _opened(path, advice) as file:
        try:
            _wait_for(file, path, patience, busy or f"{path} is held by another process")
        except OSError as error:
            log.warning("%s cannot be locked (%s): two processes at once would not be noticed", path, error)
        yield


def try_lock(path: Path, advice: str = "") -> IO[str] | None:
    """The lock file `path` (made if needed, left behind), held until it is closed or the process is gone; None when
    another one holds it.

    Raises:
        ValueError: its folder cannot be written to, or the file system has no locks; `advice` says what to do.
    """
    file = _opened(path, advice)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if isinstance(error, BlockingIOError):
            return None
        raise ValueError(f"{path.parent} has a file system without locks ({error}){_then(advice)}") from error
    return file


def lock_file(folder: Path) -> Path:
    """The lock file for a folder that may not be there yet: beside it."""
    return folder.with_name(f".{folder.name}.lock")


def _opened(path: Path, advice: str) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a")
    except OSError as error:
        raise ValueError(f"{path.parent} cannot be written to ({error.strerror or error}){_then(advice)}") from error


def _then(advice: str) -> str:
    return f"; {advice}" if advice else ""


def _wait_for(file: IO[str], path: Path, patience: float | None, busy: str) -> None:
    since, told = time.monotonic(), False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if patience is not None and time.monotonic() - since >= patience:
                raise ValueError(busy) from None
        if not told:
            log.info("waiting for the process that holds %s", path)
            told = True
        time.sleep(_POLL_SECONDS)

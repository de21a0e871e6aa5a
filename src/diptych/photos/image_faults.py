"""Which image files cannot be used: absent, empty, or not decodable. Verdicts are kept on disk between looks."""

from __future__ import annotations

import logging
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path
from typing import BinaryIO

import torch
from rich.console import Console
from rich.progress import track

from diptych.photos.images import read_image
from diptych.photos.spellings import spelt_otherwise
from diptych.storage.json_files import json_lines, parse_json
from diptych.storage.processes import end_with_parent

log = logging.getLogger(__name__)

MISSING, EMPTY, UNREADABLE = "missing", "zero bytes", "unreadable"
_RULES = 2  # raise it when other files than before are readable: verdicts under other rules do not count
# Below this many files, starting processes takes longer than decoding.
_WORTH_A_POOL = 256


@dataclass(frozen=True, slots=True)
class Fault:
    """One file that cannot be used: `kind` is missing, zero bytes or unreadable; `reason` says more."""

    path: Path
    kind: str
    reason: str


class KeptVerdicts:
    """Verdicts on files, kept in a JSON Lines file: path, size, time of change, what was wrong (null: nothing),
    and the number of the rules that say what is readable.

    Lines are appended as verdicts come, the last one about a path counts. What a crash has left of a line is passed
    over with a warning.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._verdicts: dict[tuple[str, int, int], str | None] = {}
        self._file: BinaryIO | None = None

    def __enter__(self) -> KeptVerdicts:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists() and not self.path.is_file():
            raise ValueError(f"{self.path} is no file; remove it, and the pictures are decoded again")
        self._file = self.path.open("a+b")
        self._file.seek(0)
        line = b"\n"
        for number, line in enumerate(self._file, start=1):
            try:
                path, size, time, reason, *rules = parse_json(line.rstrip(), self.path, line=number)
                if not (isinstance(path, str) and isinstance(size, int) and isinstance(time, int)):
                    raise ValueError("expected path, size and time")
                if not isinstance(reason, str | None):
                    raise ValueError(f"expected a reason or null, found {reason!r:.80}")
                if rules == [_RULES]:
                    self._verdicts[path, size, time] = reason
            except (ValueError, TypeError) as error:
                log.warning("%s:%d: passed over, its picture is decoded again: %s", self.path, number, error)
        if not line.endswith(b"\n"):
            self._file.write(b"\n")
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def __contains__(self, key: tuple[str, int, int]) -> bool:
        return key in self._verdicts

    def __getitem__(self, key: tuple[str, int, int]) -> str | None:
        return self._verdicts[key]

    def keep(self, key: tuple[str, int, int], reason: str | None) -> None:
        """Remember a verdict, here and on disk."""
        self._verdicts[key] = reason
        if self._file is not None:
            self._file.write(json_lines([[*key, reason, _RULES]], ascii_only=True))


def find_faults(paths: Iterable[Path], kept: KeptVerdicts, workers: int, title: str = "decoding") -> list[Fault]:
    """The files that are missing, empty or cannot be decoded, in the order of `paths`."""
    faults: dict[Path, Fault | None] = {}
    pending: dict[Path, tuple[str, int, int]] = {}
    for path in paths:
        faults[path] = None
        try:
            status = path.stat()
        except OSError as error:
            faults[path] = Fault(path, MISSING, (error.strerror or str(error)) + spelt_otherwise(path))
            continue
        key = (str(path.absolute()), status.st_size, status.st_mtime_ns)
        if status.st_size == 0 and stat.S_ISREG(status.st_mode):
            faults[path] = Fault(path, EMPTY, "the file is empty")
        elif key not in kept:
            pending[path] = key
        elif (reason := kept[key]) is not None:
            faults[path] = Fault(path, UNREADABLE, reason)
    verdicts = _decode_all(list(pending), workers)
    for path, reason in track(verdicts, title, len(pending), console=Console(stderr=True), disable=not pending):
        kept.keep(pending[path], reason)
        if reason is not None:
            faults[path] = Fault(path, UNREADABLE, reason)
    return [fault for fault in faults.values() if fault is not None]


def _decode_all(paths: list[Path], workers: int) -> Iterator[tuple[Path, str | None]]:
    if workers <= 1 or len(paths) < _WORTH_A_POOL:
        yield from zip(paths, map(decoding_error, paths), strict=True)
        return
    # Not plain forks: torch's threads do not survive them. The fork server imports torch once for all workers.
    context = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(workers, context, initializer=_begin) as pool:
        yield from zip(paths, pool.map(decoding_error, paths, chunksize=16), strict=True)


def _begin() -> None:
    end_with_parent()
    torch.set_num_threads(1)


def decoding_error(path: Path) -> str | None:
    """Why a picture cannot be decoded, on one line, or None if it can."""
    try:
        read_image(path)
    except ValueError as error:
        return " ".join(str(error).split())
    return None

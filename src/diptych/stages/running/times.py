"""How long a stage took: `times.json` in its folder, beside the manifest.

A file of its own, since a manifest says the same however often the work was interrupted. The seconds of all runs that
worked in the folder add up, with the records that were made in them: a killed run leaves out the last second or two of
both.
"""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Any

from diptych.storage.json_files import read_json, write_json
from diptych.storage.json_shapes import Count, Finite

FILE = "times.json"
_SAVE_EVERY = 2.0  # seconds, so that a kill loses little and a fast stage does not write all the time


class StageTimes:
    """Adds the seconds of the work inside `with` to those that the folder has: wall clock, all processes at once, from
    the loading of the stage's model to its last record.

    `records` is how many are made in the end; `count` says how many there are already, where this process alone makes
    them all.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        found = read_times(folder) or {"records": 0, "seconds": 0.0, "runs": 0}
        self._before = (found["records"], found["seconds"], found.get("runs") or 0)
        self._records = 0
        self._started = self._saved = time.perf_counter()

    def __enter__(self) -> StageTimes:
        self._started = self._saved = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._records:
            self._save()

    def count(self, num_records: int) -> None:
        """So many records more, failures among them."""
        self._records += num_records
        if time.perf_counter() - self._saved >= _SAVE_EVERY:
            self._save()

    def _save(self) -> None:
        self._saved = time.perf_counter()
        records, seconds, runs = self._before
        records, seconds = records + self._records, seconds + self._saved - self._started
        content = {"records": records, "seconds": round(seconds, 3), "runs": runs + 1}
        write_json(self._path, {**content, "seconds_per_record": round(seconds / records, 6)}, indent=1)


def read_times(folder: Path) -> dict[str, Any] | None:
    """`records`, `seconds` and `runs` of the stage in this folder; None where no time was taken (work of version 0.1).

    Raises:
        ValueError: the file says something else; names it.
    """
    shape = {"records": Count, "seconds": Finite, "runs?": Count}
    return read_json(folder / FILE, "remove it: the times begin anew", missing_ok=True, shape=shape)


def seconds_per_record(folder: Path) -> float | None:
    """What a record of the stage in this folder took, mean; None where no time was taken."""
    found = read_times(folder)
    return None if not found or not found["records"] else float(found["seconds"]) / int(found["records"])

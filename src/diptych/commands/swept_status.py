"""`status.json` of an evaluation or a pipeline that a sweep has prepared; one that was called by itself has none."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_only

from diptych.parallel.distributed import world_size
from diptych.storage.file_lock import RUN_PATIENCE, locked
from diptych.storage.run_status import RunStatus, read_status, write_status


@contextmanager
def swept_status(folder: Path) -> Iterator[None]:
    """Says in the status that a sweep left in `folder` that the run is at work, and at the end how it ended, what it
    took and with what. Of several ranks the first one writes.

    Raises:
        ValueError: another process is still at work in the folder, also after some waiting: what a killed sweep left
            behind ends soon.
    """
    before = read_status(folder)
    if before is None or rank_zero_only.rank != 0:  # type: ignore[attr-defined]  # set out of mypy's sight
        yield
        return
    busy = f"{folder}: another process is at work here; wait for it, or stop it"
    with locked(folder / ".lock", RUN_PATIENCE, busy), _noted(folder, before):
        yield


@contextmanager
def _noted(folder: Path, before: RunStatus) -> Iterator[None]:
    start, status = time.monotonic(), replace(before, state="running", error=None, starts=before.starts + 1)
    write_status(folder, status)
    try:
        yield
    except (SystemExit, KeyboardInterrupt):
        status = replace(status, state="stopped")
        raise
    except BaseException as error:
        status = replace(status, state="failed", error=f"{type(error).__name__}: {error}")
        raise
    else:
        status = replace(status, state="done")
    finally:
        seconds = before.seconds + time.monotonic() - start
        write_status(folder, replace(status, seconds=seconds, processes=world_size(), device=_device()))


def _device() -> str:
    """The GPU that was used; what does not compute has not imported torch."""
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch and torch.cuda.is_initialized() else "cpu"

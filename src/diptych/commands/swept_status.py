"""`status.json` of an evaluation or a pipeline that a sweep has prepared; one that was called by itself has none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_only

from diptych.callbacks.status_keeper import StatusKeeper
from diptych.parallel.distributed import world_size
from diptych.storage.file_lock import RUN_PATIENCE, locked
from diptych.storage.run_status import FILE


@contextmanager
def swept_status(folder: Path) -> Iterator[None]:
    """Says in the status that a sweep left in `folder` that the run is at work, and at the end how it ended, what it
    took and with what. Of several ranks the first one writes.

    Raises:
        ValueError: another process is still at work in the folder, also after some waiting: what a killed sweep left
            behind ends soon.
    """
    if not (folder / FILE).is_file() or rank_zero_only.rank != 0:  # type: ignore[attr-defined]  # set out of its sight
        yield
        return
    with locked(folder / ".lock", RUN_PATIENCE, f"{folder}: another process is at work here; wait for it, or stop it"):
        status = StatusKeeper(folder, (), active=True)
        with status.noting_failures():
            yield
        device = torch.cuda.get_device_name() if torch.cuda.is_initialized() else "cpu"
        status.note(state="done", processes=world_size(), device=device)

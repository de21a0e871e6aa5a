"""Keeps a run's status.json: how far it is, how it ends, its best value."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch

from diptych.callbacks.checkpointing import Checkpointing
from diptych.parallel.distributed import rank, world_size
from diptych.parallel.job import lost_companion
from diptych.storage.run_status import Objective, RunStatus, read_status, write_status

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_NOTES = 10.0


class StatusKeeper(L.Callback):
    """Writes the status of the run in `run_dir` when it starts, every ten seconds of training, and when `note` is
    called. `overrides` are those that made the run, unless its status names them already; `active` is true on the
    first rank, which alone writes.
    """

    def __init__(self, run_dir: Path, overrides: Sequence[str], active: bool) -> None:
        self._run_dir, self._active = run_dir, active
        before = read_status(run_dir) or RunStatus(overrides=tuple(overrides))
        self._earlier, self._since, self._noted = before.seconds, time.monotonic(), 0.0
        self.status = replace(before, state="running", error=None, starts=before.starts + 1)
        self.note()

    def note(self, **changes: Any) -> None:
        """Writes the status with these fields changed, and the time so far."""
        self._noted = time.monotonic()
        self.status = replace(self.status, **changes, seconds=self._earlier + self._noted - self._since)
        if self._active:
            write_status(self._run_dir, self.status)

    @contextmanager
    def noting_failures(self) -> Iterator[None]:
        """Notes how the block ends unless it ends well: `stopped`, or `failed` with the reason. What ended it is raised
        also where the note cannot be written.
        """
        try:
            yield
        except BaseException as error:
            stopped = isinstance(error, SystemExit | KeyboardInterrupt)
            try:
                if stopped:
                    self.note(state="stopped", error=None)
                else:
                    self._note_failure(_reason(error))
            except OSError as unwritten:
                log.error("%s: how the run ended cannot be written: %s", self._run_dir, unwritten)
            raise

    def note_loss(self, said: str) -> None:
        """Notes that another process is lost, which perhaps has noted why itself."""
        self._note_failure(said)

    def _note_failure(self, reason: str) -> None:
        """Notes the reason, from any process; the first that failed is right, since the others fail for its loss."""
        written = read_status(self._run_dir)
        if written is None or written.state == "failed":
            return
        if self._active:
            self.note(state="failed", error=reason)
        elif world_size() > 1 and written.state == "running":
            write_status(self._run_dir, replace(written, state="failed", error=f"process {rank()}: {reason}"))

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Notes what the run has to work with."""
        self._active = trainer.is_global_zero
        self.note(**_progress(trainer), processes=trainer.world_size, device=_device_name(module.device))

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        """Notes the step, now and then."""
        if time.monotonic() - self._noted >= _SECONDS_BETWEEN_NOTES:
            self.note(**_progress(trainer))

    def on_validation_end(self, trainer: L.Trainer, *args: Any) -> None:
        """Notes what the validation has changed."""
        if trainer.state.fn == "fit":
            self.note(**_progress(trainer))

    def on_fit_end(self, trainer: L.Trainer, *args: Any) -> None:
        """Notes where the fit has ended."""
        self.note(**_progress(trainer))


def _reason(error: BaseException) -> str:
    return lost_companion(error) or f"{type(error).__name__}: {error}"


def _progress(trainer: L.Trainer) -> dict[str, Any]:
    callbacks: Sequence[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set out of mypy's sight
    checkpointing = next((callback for callback in callbacks if isinstance(callback, Checkpointing)), None)
    objective = checkpointing and Objective(checkpointing.monitor, checkpointing.mode, checkpointing.best_value)
    return {"step": trainer.global_step, "objective": objective}


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type

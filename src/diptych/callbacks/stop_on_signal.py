"""SIGTERM ends a run between two steps, with a checkpoint."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import lightning as L

from diptych.callbacks.checkpointing import Checkpointing
from diptych.distributed import any_rank


class StopOnSignal(L.Callback):
    """On SIGTERM, to any rank, finishes the step, saves `last.ckpt` and stops the trainer; `stopped` is then True."""

    def __init__(self) -> None:
        self.stopped = False
        self._asked = False
        self._previous: Any = None

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Takes the signal over from Lightning, which would raise out of the step."""
        self._previous = signal.signal(signal.SIGTERM, self._note)

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *args: Any) -> None:
        """Acts on the signal: all ranks together, so that none waits for another."""
        if any_rank(self._asked, module.device):
            self.stopped = True
            for callback in trainer.callbacks:
                if isinstance(callback, Checkpointing):
                    callback.save_last(trainer)
            trainer.should_stop = True

    def teardown(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        """Gives the signal back."""
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)
            self._previous = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

"""SIGTERM, SIGUSR1 and SIGUSR2 end a run at a point from which it resumes exactly."""

from __future__ import annotations

import logging
import signal
from types import FrameType
from typing import Any

import lightning as L
import torch

from diptych.parallel.distributed import any_rank, gather, world_size
from diptych.parallel.private_parts import do_not_ask_for_sigterm, take_sigterm

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)  # in the order in which they are handed over


class StoppedBySignal(Exception):
    """Leaves `Trainer.fit` from the middle of a validation, on every rank."""


class StopOnSignal(L.Callback):
    """On a signal of `SIGNALS`, to any rank, ends the fit on all of them; `stopped` is then True on all.

    While training, the step is finished, `last.ckpt` saved by `Checkpointing`, and the fit left without a validation.
    While validating, the ranks leave together after a batch that each of them has, by `StoppedBySignal`; `last.ckpt`
    is then the one saved a step before (see `Checkpointing`), and the resumed run repeats that step and the validation.
    A signal that comes after the last such batch waits for the validation's end. Further signals are noted and change
    nothing.

    The signals are held from the first step to the end of the fit. Before and after, in the final evaluation too, they
    mean what they meant to the process: there is nothing to save, and the resumed run does it again.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._received: set[int] = set()
        self._former: dict[int, Any] = {}
        self._shared_batches: list[float] = []

    def setup(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        """Remembers whose the signals are, before Lightning takes SIGTERM."""
        self._former = self._former or {number: signal.getsignal(number) for number in SIGNALS}

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Takes the signals over: Lightning's handler would raise out of the step."""
        for number in SIGNALS:
            signal.signal(number, self._note)
        if take_sigterm(trainer):  # while the loaders were set up; Lightning would end the process, unsaved
            self._received.add(signal.SIGTERM)
        do_not_ask_for_sigterm(trainer)  # it comes to `_note`

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *args: Any) -> None:
        """Acts on a signal after each optimizer step: all ranks together, so that none waits for another."""
        if (trainer.fit_loop.total_batch_idx + 1) % trainer.accumulate_grad_batches == 0 and self._any():
            self._end(trainer)

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Finds how many batches of each loader every rank has: only after those may the ranks ask each other."""
        counts = torch.tensor(trainer.num_val_batches, device=module.device)
        self._shared_batches = gather(counts).view(world_size(), -1).amin(dim=0).tolist()

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Acts on a signal by leaving the validation; raises `StoppedBySignal`."""
        if batch_idx < self._shared_batches[dataloader_idx] and self._any():
            self.stopped = True
            trainer.training = True  # so that Lightning ends the training's workers too, not the validation's alone
            raise StoppedBySignal

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Acts on a signal that came too late to leave the validation."""
        if self._any():
            self._end(trainer)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Acts on a signal that came after the last step: `last.ckpt` is complete, the evaluation is left out."""
        self.stopped = self.stopped or self._any()

    def on_test_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Gives SIGTERM, which Lightning takes again for an evaluation, back to its former holder."""
        self._give_back()

    def hand_over(self) -> None:
        """Gives the signals back, and calls the former handlers of those that came, to any rank, if they are Python
        functions: what they were meant for (to requeue the job) can now be done. They may end the process.
        """
        self._give_back()
        for number in SIGNALS:
            former = self._former.get(number)
            if number in self._received and callable(former):
                former(number, None)

    def _end(self, trainer: L.Trainer) -> None:
        self.stopped = True
        trainer.should_stop = True
        trainer.limit_val_batches = 0  # Lightning would validate before it stops: longer than a cluster waits

    def _any(self) -> bool:
        """Whether any rank got a signal, by one collective; if so, every rank then knows of all that came."""
        if not any_rank(bool(self._received)):
            return False
        self._received |= {number for number in SIGNALS if any_rank(number in self._received)}
        log.info("stopping: %s", ", ".join(signal.Signals(number).name for number in sorted(self._received)))
        return True

    def _give_back(self) -> None:
        for number, former in self._former.items():
            signal.signal(number, signal.SIG_DFL if former is None else former)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._received.add(number)

"""The loss of a step, looked at when it has come to the host: asking at once would make the host wait for the GPU."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from diptych.parallel.distributed import any_rank


class LatestLoss:
    """The loss of the latest training step on its way to the host, and what to say if it is not finite.

    On a GPU it is looked at when the next step's is there, or before a checkpoint is saved; on a CPU at once. It may be
    read for a progress bar at any time: `shown` is the latest that has come.
    """

    def __init__(self) -> None:
        self.shown = math.nan
        self._value: Tensor | None = None
        self._came: Any = None  # an event of the GPU; torch has no types for it
        self._what = ""

    def note(self, loss: Tensor, step: int, of_batch: str) -> None:
        """Takes the loss of `step`; `of_batch` says what the batch held.

        Raises:
            ValueError: the loss before was not finite; on a CPU this one.
        """
        self.check()
        self._what = f"at step {step}; {of_batch}"
        self._value = loss.detach()
        if loss.is_cuda:
            self._value = torch.empty_like(self._value, device="cpu", pin_memory=True)
            self._value.copy_(loss.detach(), non_blocking=True)
            self._came = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._came.record()
        else:
            self.check()

    def look(self) -> float:
        """The latest loss that has come to the host; nothing is waited for."""
        if self._value is not None and (self._came is None or self._came.query()):
            self.shown = float(self._value)
        return self.shown

    def check(self) -> None:
        """Raises ValueError if the latest loss is not finite; waits for the forward pass that made it."""
        if self._value is None:
            return
        if self._came is not None:
            self._came.synchronize()
        if not math.isfinite(self.look()):
            raise ValueError(
                f"the loss is {self.shown} {self._what}. Try trainer.precision=32-true or a lower system.optimizer.lr"
            )

    def check_together(self) -> None:
        """As `check`, on every rank if the loss of one is not finite: the gradients of all are its, too. To be called
        by all ranks together.
        """
        fault = None
        try:
            self.check()
        except ValueError as error:
            fault = error
        if any_rank(fault is not None):
            raise fault or ValueError("the loss of another process is not finite; its message says of which batch")

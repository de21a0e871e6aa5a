"""What one watches while a model trains: speed, learning rate, gradient norm, memory, passes over the data."""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import lightning as L
import torch
from torch.optim import Optimizer

from diptych.contracts.news import CaptionData
from diptych.contracts.retrieval import RetrievalData
from diptych.parallel.devices import on_gpu
from diptych.parallel.distributed import world_size


class TrainingMonitor(L.Callback):
    """Logs `train/samples_per_second` and, of packed batches, `train/tokens_per_second` (all ranks), `train/lr`,
    `train/gradient_norm` (before clipping), `train/memory_gib` (peak, of the GPU or of this process) and `train/epoch`
    (passes, with fraction).
    """

    def __init__(self) -> None:
        self._since, self._logged_step = time.perf_counter(), -1
        self._samples = self._tokens = 0

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Starts the clock."""
        self._since, self._samples, self._tokens = time.perf_counter(), 0, 0

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Stops the clock: validation is no training speed."""
        self._since -= time.perf_counter()

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Starts the clock again."""
        self._since += time.perf_counter()

    def on_before_optimizer_step(self, trainer: L.Trainer, module: L.LightningModule, optimizer: Optimizer) -> None:
        """Logs the gradient norm on the steps that are logged."""
        if (trainer.global_step + 1) % _log_interval(trainer) == 0:
            gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
            module.log("train/gradient_norm", torch.nn.utils.get_total_norm(gradients))

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Logs speed, rate, memory and epoch on the steps that are logged."""
        self._samples += len(batch.query_ids)
        self._tokens += batch.num_tokens or 0
        if trainer.global_step % _log_interval(trainer) or trainer.global_step == self._logged_step:
            return
        self._logged_step = trainer.global_step
        data: RetrievalData | CaptionData = trainer.datamodule  # type: ignore[attr-defined]  # set out of mypy's sight
        now = time.perf_counter()
        speed = {"train/samples_per_second": self._samples}
        if self._tokens:
            speed["train/tokens_per_second"] = self._tokens
        module.log_dict(
            {
                **{name: count * world_size() / (now - self._since) for name, count in speed.items()},
                "train/lr": trainer.optimizers[0].param_groups[0]["lr"],
                "train/memory_gib": peak_memory_bytes() / 2**30,
                "train/epoch": (batch_idx + 1) / data.epoch_batches,
            }
        )
        self._since, self._samples, self._tokens = now, 0, 0


def _log_interval(trainer: L.Trainer) -> int:
    interval: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set out of mypy's sight
    return interval


def peak_memory_bytes() -> int:
    """The most memory in use so far: of the GPU that is computed on, else of this process."""
    if on_gpu():
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB, macOS in bytes

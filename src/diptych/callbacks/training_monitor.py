"""What one watches while a model trains: speed, learning rate, gradient norm, memory, passes over the data."""

from __future__ import annotations

import logging
import resource
import sys
import time
from datetime import timedelta
from typing import Any

import lightning as L
import torch
from torch.optim import Optimizer

from diptych.contracts.news import CaptionData
from diptych.contracts.retrieval import RetrievalData
from diptych.parallel.devices import on_gpu
from diptych.parallel.distributed import rank, world_size

log = logging.getLogger(__name__)


class TrainingMonitor(L.Callback):
    """Logs `train/samples_per_second` and, of packed batches, `train/tokens_per_second` (all ranks), `train/lr`,
    `train/gradient_norm` (before clipping), `train/memory_gib` (peak, of the GPU or of this process) and `train/epoch`
    (passes, with fraction).

    The same steps have a line in the log, with the time that is left at the pace of the run so far, validations
    included, and so has each validation. On the screen they stand only where there is no progress bar.
    """

    def __init__(self) -> None:
        self._since, self._logged_step = time.perf_counter(), -1
        self._samples = self._tokens = 0
        self._began, self._first_step = self._since, 0

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Starts the clock."""
        self._since, self._samples, self._tokens = time.perf_counter(), 0, 0
        self._began, self._first_step = self._since, trainer.global_step
        bar = trainer.progress_bar_callback
        if getattr(bar, "is_enabled", False):  # which the base class lacks
            keep_off_screen()

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Stops the clock: validation is no training speed."""
        self._since -= time.perf_counter()

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Starts the clock again."""
        self._since += time.perf_counter()
        found = {name.removeprefix("val/"): float(of) for name, of in trainer.callback_metrics.items()}
        shown = ", ".join(f"{name} {value:.4g}" for name, value in found.items() if "/" not in name)
        if rank() == 0:
            log.info("step %d of %d: validation: %s", trainer.global_step, trainer.max_steps, shown)

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
        logged = {
            **{name: count * world_size() / (now - self._since) for name, count in speed.items()},
            "train/lr": trainer.optimizers[0].param_groups[0]["lr"],
            "train/memory_gib": peak_memory_bytes() / 2**30,
            "train/epoch": (batch_idx + 1) / data.epoch_batches,
        }
        module.log_dict(logged)
        self._tell(trainer, module, logged, now)
        self._since, self._samples, self._tokens = now, 0, 0

    def _tell(self, trainer: L.Trainer, module: L.LightningModule, logged: dict[str, Any], now: float) -> None:
        if rank() != 0:
            return
        latest = getattr(module, "latest_loss", None)
        loss = "" if latest is None else f"loss {latest.look():.4f}, "
        done, left = trainer.global_step - self._first_step, trainer.max_steps - trainer.global_step
        log.info(
            "step %d of %d: %slr %.3g, %.1f examples/s, %.2f GiB, %s left",
            *(trainer.global_step, trainer.max_steps, loss, logged["train/lr"], logged["train/samples_per_second"]),
            *(logged["train/memory_gib"], timedelta(seconds=round((now - self._began) / max(done, 1) * left))),
        )


def keep_off_screen() -> None:
    """What is told here goes to files alone: on the screen it would tear the progress bar."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.addFilter(_is_none_of_ours)


def _is_none_of_ours(record: logging.LogRecord) -> bool:
    return record.name != __name__


def _log_interval(trainer: L.Trainer) -> int:
    interval: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # set out of mypy's sight
    return interval


def peak_memory_bytes() -> int:
    """The most memory in use so far: of the GPU that is computed on, else of this process."""
    if on_gpu():
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB, macOS in bytes

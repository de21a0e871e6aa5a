"""Training steps: Lightning's, with the project's systems, and bare ones."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import lightning as L
from torch import Tensor
from torch.utils.data import DataLoader

from diptych.contracts.retrieval import TripletBatch
from diptych.losses.info_nce import InfoNCE
from diptych.models.composers.composed_model import ComposedModel
from diptych.parallel import checkpoints
from gpu_parts.bench import Setting
from gpu_parts.models import ADAMW

ENDLESS = 10**6


class BareStep:
    """Forward, loss, backward and the optimizer's step of a retrieval batch, and nothing else."""

    def __init__(self, setting: Setting, model: ComposedModel, micro_batch_size: int | None = None) -> None:
        self.setting, self.model, self.micro_batch_size = setting, model, micro_batch_size
        self.loss = InfoNCE(learned=True).to(setting.device)
        self.optimizer = ADAMW([*model.parameters(), *self.loss.parameters()])

    def __call__(self, batch: TripletBatch) -> Tensor:
        """The loss."""
        with self.setting.autocast():
            value = self.loss(self.model(batch, self.micro_batch_size), batch)["loss"]
        value.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return value.detach()


class Batches(L.LightningDataModule):
    """Batch n for step n, also for a run that goes on in the middle."""

    epoch_batches = 1.0

    def __init__(self, make: Callable[[int], Any]) -> None:
        super().__init__()
        self.make = make

    def labelled_tokens_per_batch(self, number: int) -> float:
        """As a captioning datamodule."""
        return 100.0

    def train_dataloader(self) -> DataLoader[Any]:
        """One batch a step, made in this process, without end: after an epoch batches are counted anew."""
        done = 0 if self.trainer is None else self.trainer.global_step
        return DataLoader(range(done, ENDLESS), batch_size=None, collate_fn=self.make)  # type: ignore[arg-type]


class Clock(L.Callback):
    """Milliseconds a step, by the host's clock, from the end of step `skipped` to the end of the last."""

    def __init__(self, setting: Setting, skipped: int) -> None:
        self.setting, self.skipped = setting, skipped
        self.ms: float | None = None
        self._began = 0.0

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Looks at the clock when the device has done the step."""
        if self.setting.rehearsal:
            return
        if trainer.global_step == self.skipped:
            self.setting.wait()
            self._began = time.perf_counter()
        elif trainer.global_step == trainer.max_steps:
            self.setting.wait()
            self.ms = (time.perf_counter() - self._began) * 1e3 / (trainer.max_steps - self.skipped)


class Checkpoints(L.Callback):
    """Marks checkpoints as Diptych's, of a run without settings."""

    def on_save_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds what a checkpoint says of its run."""
        checkpoint[checkpoints.KEY] = checkpoints.describe("{}")


def trainer(setting: Setting, steps: int, callbacks: Sequence[L.Callback] = (), **settings: Any) -> L.Trainer:
    """Lightning's, as the project sets it up, silent."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    given: dict[str, Any] = {
        "precision": "bf16-mixed",
        "enable_checkpointing": False,
        "callbacks": [Checkpoints(), *callbacks],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return L.Trainer(
            accelerator="gpu" if setting.on_gpu() else "cpu", devices=1, max_steps=steps, logger=False,
            enable_model_summary=False, enable_progress_bar=False, num_sanity_val_steps=0, log_every_n_steps=1000,
            use_distributed_sampler=False,  # it would shuffle the numbers
            **(given | settings),
        )  # fmt: skip


def fit(
    setting: Setting, made: L.Trainer, system: L.LightningModule, data: Batches, quiet: bool = True, **settings: Any
) -> None:
    """Trains; in a rehearsal the system stays where it is afterwards, as nothing could be copied. `quiet` drops
    warnings.
    """
    if setting.rehearsal:
        system.cpu = lambda: system  # type: ignore[method-assign]
    with warnings.catch_warnings():
        if quiet:
            warnings.simplefilter("ignore")
        made.fit(system, datamodule=data, **settings)
    if made.global_step != made.max_steps:
        raise RuntimeError(f"the training ended after {made.global_step} of {made.max_steps} steps")

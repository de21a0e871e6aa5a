"""Trainings by a real Trainer with the real callbacks."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import lightning as L
import torch
from counts import Counts
from tiny_parts import B, retrieval_system, triplets
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import get_device_states

import fake_gpu
from diptych.callbacks.progress import RunProgressBar
from diptych.callbacks.stop_on_signal import StopOnSignal
from diptych.callbacks.training_monitor import TrainingMonitor
from diptych.contracts.retrieval import PictureRows, TripletBatch
from diptych.data.triplets.augmentation import AugmentationSequence, ColorJitter, RandomCropResize
from diptych.data.triplets.resident_pictures import ResidentPictures
from diptych.models.composers import composed_model

STEPS = 3
COUNTED = STEPS - 1  # all but the first


class Batches(L.LightningDataModule):
    epoch_batches, max_tokens_per_batch = 1.0, 128

    def __init__(self, make: Callable[[], Any], after_transfer: Any = None) -> None:
        super().__init__()
        self.make = make
        if after_transfer:
            self.on_after_batch_transfer = after_transfer

    def labelled_tokens_per_batch(self, number: int) -> float:
        return 100.0

    def train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(range(STEPS), batch_size=None, collate_fn=lambda _: self.make())


class FromTheSecondStep(L.Callback):
    """Has the counters begin anew after the first step: the next batch's way to the GPU is a part of the second."""

    def __init__(self, watch: Any, counts: Counts) -> None:
        self.watch, self.counts = watch, counts

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, number: int) -> None:
        if number == 0:
            self.counts.clear()
            self.watch.waits.clear()
            self.watch.sent.clear()
        elif number == COUNTED:
            self.waits = fake_gpu.readable(self.watch.waits)


def train(
    make_system: Callable[[], L.LightningModule], make_batch: Callable[[], Any], counts: Counts | None = None,
    after_transfer: Any = None, **settings: Any,
) -> dict[str, Any]:  # fmt: skip
    """A training of three steps; what is counted is that of one of them, `waits` are those of two."""
    numbers = {"has_len": STEPS, "any_rank": 0}  # batches there are; processes that were asked to stop
    watch = fake_gpu.watch({"item": lambda place, _: next((n for part, n in numbers.items() if part in place), 1)})
    counts = Counts() if counts is None else counts
    second = FromTheSecondStep(watch, counts)
    with FakeTensorMode(allow_non_fake_inputs=True), watch, counts:
        system = make_system()
        system.cpu = lambda: system  # at the end
        trainer = L.Trainer(
            **{"accelerator": "gpu", "devices": 1, "precision": "bf16-mixed", **settings}, max_steps=STEPS,
            log_every_n_steps=100, logger=False, enable_checkpointing=False, enable_model_summary=False,
            num_sanity_val_steps=0, callbacks=[StopOnSignal(), TrainingMonitor(), RunProgressBar(), second],
        )  # fmt: skip
        with contextlib.redirect_stdout(sys.stderr):
            trainer.fit(system, datamodule=Batches(make_batch, after_transfer))
    return {
        "steps": trainer.global_step,
        "devices": sorted({str(parameter.device) for parameter in system.parameters()}),
        "attention": fake_gpu.attention(counts.kernels),
        "waits": second.waits,
        "kernels": counts.kernels.total() / COUNTED,
        "sent": {name: count / COUNTED for name, count in watch.sent.items()},
    }


def pictures_on_the_gpu() -> dict[str, Any]:
    """As `triplets` in pieces, of pictures that the GPU holds, and augments."""
    augmentation = AugmentationSequence([RandomCropResize(), ColorJitter()])
    rows = torch.tensor([0, *range(B - 1)]), torch.arange(B) + B
    random = torch.rand(B, augmentation.num_random, generator=torch.Generator().manual_seed(0))
    named = {name: PictureRows(part, random) for name, part in zip(("reference", "target"), rows, strict=True)}
    kept: list[ResidentPictures] = []

    def after_transfer(batch: TripletBatch, number: int) -> TripletBatch:
        if not kept:
            pixels = torch.zeros(100, 3, 64, 64, dtype=torch.uint8, device="cuda")
            kept.append(ResidentPictures(pixels, {}, augmentation))
        return kept[0].in_place_of_rows(batch)

    return train(lambda: retrieval_system(4), lambda: replace(triplets(), **named), after_transfer=after_transfer)


def random_states_of_pieces() -> dict[str, Any]:
    """Of how many GPUs torch keeps the random state for the recomputation of a piece."""
    kept = []

    def noted(function: Any, *arguments: Any, **settings: Any) -> Any:
        kept.append(len(get_device_states(*arguments)[0]))
        return function(*arguments)

    composed_model.checkpoint = noted
    result = train(lambda: retrieval_system(4, dropout=0.1), triplets)
    return {"steps": result["steps"], "kept": sorted(set(kept))}

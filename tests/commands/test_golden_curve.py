"""The first steps of `cir_rooms`: model, loss, optimizer and sampling as its config has them, on a small set.

A change of any of them shows here. When it is meant, run this file as a program and put its numbers below.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from diptych.synthetic.rooms.generate import RoomsSettings, generate_rooms
from tiny_runs import run_train

pytestmark = pytest.mark.slow

SETTINGS = RoomsSettings(num_train_hotels=12, num_val_hotels=1, num_test_hotels=1)
LOSSES = (3.56476, 3.48922, 2.99578, 2.58951, 2.87111, 2.70403)


def first_losses(folder: Path) -> list[float]:
    torch.set_num_threads(1)
    generate_rooms(folder / "rooms", SETTINGS, num_workers=1)
    run_train(
        folder / "run",
        "experiment=cir_rooms",
        f"data_dir={folder}",
        *(
            f"data.sources.rooms.settings.num_{split}_hotels={getattr(SETTINGS, f'num_{split}_hotels')}"
            for split in SPLITS
        ),
        "data.training.batch_size=16",
        "system.scheduler.warmup_steps=2",
        "system.scheduler.total_steps=100",
        "trainer.max_steps=6",
        "trainer.log_every_n_steps=1",
        "trainer.enable_progress_bar=false",
        "trainer.limit_val_batches=0",
        "evaluate_at_end=false",
    )
    rows = csv.DictReader((folder / "run/metrics.csv").open())
    return [float(row["train/loss"]) for row in rows if row["train/loss"]]


SPLITS = ("train", "val", "test")


def test_the_first_steps_are_those_of_the_published_run(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    losses = first_losses(tmp_path)
    # Before the first update everything is float32; later Muon's iterations in bfloat16 depend on the processor.
    assert losses[0] == pytest.approx(LOSSES[0], rel=1e-4)
    assert losses == pytest.approx(LOSSES, rel=2e-2)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        print([round(loss, 5) for loss in first_losses(Path(scratch))])  # noqa: T201

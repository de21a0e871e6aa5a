"""The configs of `debug=`, on a tiny set."""

from __future__ import annotations

import csv
import sys

import pytest

from tiny_runs import TINY_MODEL, TINY_ROOMS_SIZES, TINY_RUN, run_train
from tiny_sets import tiny_set

TINY = [word for word in TINY_RUN if not word.startswith(("trainer.max_steps", "trainer.log_every"))]
ROOMS = ["experiment=cir_rooms", *TINY_MODEL, *TINY, *TINY_ROOMS_SIZES]


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """The folder of a training with these overrides."""
    tiny_set("rooms", tmp_path / "data/rooms")
    monkeypatch.setattr(sys, "argv", ["train.py"])

    def train(*words):
        run_train(tmp_path / "run", *ROOMS, f"data_dir={tmp_path / 'data'}", *words)
        return tmp_path / "run"

    return train


def test_overfit_learns_one_batch(trained):
    run = trained("debug=overfit", "trainer.max_steps=30", "trainer.val_check_interval=30")
    with (run / "metrics.csv").open() as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row.get("train/loss")]
    assert len(losses) == 30 and losses[-1] < 0.5 * losses[0]


def test_fast_trains_validates_and_evaluates(trained):
    run = trained("debug=fast")
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(bool(row.get("val/loss")) for row in rows) == 2
    assert (run / "metrics.json").is_file() and (run / "checkpoints/last.ckpt").is_file()


def test_profile_leaves_a_table_of_times_in_the_folder_of_the_run(trained):
    run = trained("debug=profile", "trainer.max_steps=2", "trainer.val_check_interval=2")
    assert "run_training_batch" in (run / "fit-profile.txt").read_text()


def test_labels_are_of_captions(trained):
    with pytest.raises(ValueError, match="debug=labels shows which tokens of a caption carry loss"):
        trained("debug=labels")

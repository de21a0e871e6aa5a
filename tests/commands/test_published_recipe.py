"""The released recipe of good4cir on tiny data: its validation loss, its early stop, and a resumed run of it."""

import csv
import sys

import pytest
import torch

from tiny_runs import TINY_MODEL, TINY_RUN, run_evaluate, run_train
from tiny_sets import make_data

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that learns nothing, so that no validation is better than the first."""
    folder = tmp_path_factory.mktemp("published")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py"])
        words = ["experiment=good4cir_cirr", f"data_dir={make_data(folder / 'data')}", *TINY_MODEL, *TINY_RUN]
        run_train(folder / "run", *words, "trainer.max_steps=100", "system.optimizer.lr=0.0")
    return folder / "run"


def validations(run):
    rows = csv.DictReader((run / "metrics.csv").open())
    return [(int(row["step"]), float(row["val/loss"])) for row in rows if row.get("val/loss")]


def test_it_stops_after_six_validations_without_a_better_loss(run):
    """Twelve triplets in batches of eight: a validation after every pass is one after every batch."""
    steps, losses = zip(*validations(run), strict=True)
    assert steps == tuple(range(7))
    assert len(set(losses)) == 1 and losses[0] > 0
    last, best = (torch.load(run / f"checkpoints/{name}.ckpt", weights_only=True) for name in ("last", "best"))
    assert (last["global_step"], best["global_step"]) == (7, 1)


def test_its_checkpoint_is_evaluated(run, tmp_path):
    words = [f"ckpt={run}", f"data_dir={run.parent / 'data'}", "split=val", "trainer=cpu", "trainer.precision=32-true"]
    assert "recall_at_1" in run_evaluate(tmp_path / "eval", *words)["metrics"]


def test_resumed_it_trains_no_further(run, monkeypatch):
    """As it is when a kill cut its evaluation short."""
    monkeypatch.setattr(sys, "argv", ["train.py"])
    run_train(run, f"resume={run}")
    assert [step for step, _ in validations(run)] == list(range(7))
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 7

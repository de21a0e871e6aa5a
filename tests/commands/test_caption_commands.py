"""The captioning commands as users type them: killed while training and while writing captions, on two processes."""

from __future__ import annotations

import csv
import json
import signal

import pytest
import torch

from tiny_runs import TINY_NEWS_SIZES, WITHOUT_ENTITIES, tiny_captions
from tiny_sets import make_data
from working_folder import WorkingFolder

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_chat_model, tiny_sentence_model):
    """A working folder with tiny data and the words that every command begins with."""
    folder = tmp_path_factory.mktemp("place")
    make_data(folder / "data")
    tiny = tiny_captions(folder / "data", tiny_chat_model, tiny_sentence_model)
    words = ["experiment=fuser_newsroom", *tiny, *TINY_NEWS_SIZES, *WITHOUT_ENTITIES]
    return WorkingFolder(folder), words


def checkpoint(run_dir):
    return torch.load(run_dir / "checkpoints/last.ckpt", weights_only=True)


LONG = ["trainer.max_steps=30", "trainer.val_check_interval=15", "callbacks.checkpointing.every_n_steps=4"]


@pytest.fixture(scope="module")
def undisturbed(place):
    place[0].run("train.py", *place[1], *LONG, "name=undisturbed", "evaluate_at_end=false")
    return place[0].folder / "runs/undisturbed/latest"


def test_training_killed_and_resumed_ends_with_the_same_adapter(place, undisturbed):
    words = [*place[1], *LONG, "name=killed", "evaluate_at_end=false"]
    run_dir = place[0].folder / "runs/killed/latest"
    saved = (run_dir / "checkpoints/last.ckpt").exists
    place[0].interrupt(signal.SIGKILL, saved, run_dir.parent, "train.py", *words)
    assert checkpoint(run_dir)["global_step"] < 30
    place[0].run("train.py", f"resume={run_dir}")
    first, second = checkpoint(undisturbed)["state_dict"], checkpoint(run_dir)["state_dict"]
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_writing_captions_killed_and_resumed_ends_with_the_same_bytes(place, undisturbed):
    words = [f"ckpt={undisturbed}", "trainer=cpu"]
    whole, half = place[0].folder / "whole", place[0].folder / "half"
    place[0].run("evaluate.py", *words, f"hydra.run.dir={whole}")
    begun = (half / "predictions.jsonl").exists
    place[0].interrupt(signal.SIGKILL, begun, half, "evaluate.py", *words, f"hydra.run.dir={half}")
    assert not (half / "metrics.json").exists()
    place[0].run("evaluate.py", *words, f"resume={half}")
    assert (half / "predictions.jsonl").read_bytes() == (whole / "predictions.jsonl").read_bytes()
    first, second = (json.loads((folder / "metrics.json").read_text()) for folder in (whole, half))
    assert first["metrics"] == second["metrics"] and first["counts"] == second["counts"]


def test_two_processes_train_and_write_as_one(place):
    words = [*place[1], "system.model.quantization=nf4", "system.optimizer.lr=1e-3", "trainer.max_steps=1"]
    two = ["trainer=ddp_cpu", "trainer.devices=2", "trainer.precision=32-true"]
    place[0].run("train.py", *words, "name=two", *two)
    place[0].run(
        "train.py", *words, "name=one", "data.batch_size=2", "trainer.precision=32-true", "evaluate_at_end=false"
    )
    rows = [
        next(csv.DictReader((place[0].folder / f"runs/{name}/latest/metrics.csv").open())) for name in ("two", "one")
    ]
    norms = [float(row["train/gradient_norm"]) for row in rows]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    # The checkpoint that two processes captioned when they were done, captioned by one.
    first, second = place[0].folder / "runs/two/latest", place[0].folder / "scored"
    one = ["split=val", "trainer=cpu", "trainer.precision=32-true", f"hydra.run.dir={second}"]
    place[0].run("evaluate.py", f"ckpt={first}", *one)
    results = [json.loads((folder / "metrics.json").read_text()) for folder in (first, second)]
    assert [result["world_size"] for result in results] == [2, 1]
    assert results[0]["metrics"] == results[1]["metrics"]
    assert (first / "predictions.jsonl").read_bytes() == (second / "predictions.jsonl").read_bytes()

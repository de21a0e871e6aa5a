"""In which order batches are begun and kept."""

from __future__ import annotations

import lightning as L
import pytest
import torch

from diptych.contracts.pipelines import Failure
from diptych.stages.running.prediction import predict

IDS = ["a", "b", "c", "d"]


class Predictor:
    """Two ids a batch, of which `c` cannot be read; with `at_once` nothing is left to the device."""

    batch_size, num_workers = 2, 0

    def __init__(self, at_once=False, fails_at=None):
        self.at_once, self.fails_at, self.said = at_once, fails_at, []

    def load_model(self):
        return torch.nn.Linear(1, 1)

    def reader(self):
        return self

    def read(self, name):
        return Failure(name, "unreadable", "") if name == "c" else name

    def collate(self, items):
        return list(items)

    def predict(self, model, ids, batch):
        if self.fails_at in ids:
            raise KeyError(self.fails_at)
        self.said.append(f"begin {' '.join(ids)}")
        results = [{"id": name} for name in ids]
        return results if self.at_once else lambda: results

    def keep(self, results):
        self.said.append(
            "keep " + " ".join(one.record_id + "!" if isinstance(one, Failure) else one["id"] for one in results)
        )


def run(predictor):
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False,
        enable_model_summary=False,
    )  # fmt: skip
    predict(trainer, predictor, [*IDS, "e"], predictor.keep)


def test_the_next_batch_is_begun_before_the_one_before_is_written():
    predictor = Predictor()
    run(predictor)
    assert predictor.said == ["begin a b", "begin d", "keep a b", "begin e", "keep d c!", "keep e"]


def test_what_is_there_is_kept_at_once():
    predictor = Predictor(at_once=True)
    run(predictor)
    assert predictor.said == ["begin a b", "keep a b", "begin d", "keep d c!", "begin e", "keep e"]


def test_what_was_begun_is_kept_although_the_next_batch_fails():
    predictor = Predictor(fails_at="e")
    with pytest.raises(KeyError, match="e"):
        run(predictor)
    assert predictor.said == ["begin a b", "begin d", "keep a b", "keep d c!"]


def test_what_could_not_be_kept_is_not_tried_again():
    predictor = Predictor()

    def full(results):
        predictor.said.append("full")
        raise OSError("the disk is full")

    predictor.keep = full
    with pytest.raises(OSError, match="the disk is full"):
        run(predictor)
    assert predictor.said == ["begin a b", "begin d", "full"]

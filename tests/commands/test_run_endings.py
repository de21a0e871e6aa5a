"""How a training ends whose checkpoints could not be written, or are gone."""

from __future__ import annotations

import json
import sys

import pytest

from diptych.parallel.checkpoints import AtomicCheckpointIO
from diptych.storage.run_status import read_status
from tiny_runs import TINY_MODEL, TINY_ROOMS_SIZES, TINY_RUN, run_train
from tiny_sets import make_data

pytestmark = [pytest.mark.slow, pytest.mark.hostile("limits")]


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    data = make_data(tmp_path_factory.mktemp("data"))
    return ["experiment=cir_rooms", f"data_dir={data}", *TINY_MODEL, *TINY_ROOMS_SIZES, *TINY_RUN]


@pytest.fixture(autouse=True)
def command_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])


@pytest.mark.parametrize("lost", ["last", "best"])
def test_a_run_without_one_of_its_checkpoints_has_failed_and_is_not_scored(words, lost, tmp_path, monkeypatch):
    save = AtomicCheckpointIO.save_checkpoint

    def on_a_full_disk(self, checkpoint, path, storage_options=None):
        if path.stem == lost:
            raise OSError(28, "No space left on device", str(path))
        save(self, checkpoint, path, storage_options)

    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", on_a_full_disk)
    with pytest.raises(OSError, match=f"not all of its checkpoints.*No space left on device.*{lost}.ckpt.* are free"):
        run_train(tmp_path / "run", *words)
    status = read_status(tmp_path / "run")
    assert status.state == "failed" and f"{lost}.ckpt" in status.error
    assert not (tmp_path / "run/metrics.json").exists()


def test_the_result_names_the_step_of_the_checkpoint_and_a_link_to_nothing_is_no_checkpoint(words, tmp_path):
    run = tmp_path / "run"
    run_train(run, *words)
    assert json.loads((run / "metrics.json").read_text())["step"] == 2
    last = run / "checkpoints/last.ckpt"
    last.unlink()
    last.symlink_to("last.shards-0")
    with pytest.raises(ValueError, match="last.ckpt is a checkpoint in pieces, and they are gone: put last.shards-0"):
        run_train(run, f"resume={run}")
    assert read_status(run).state == "failed"


def test_overfitting_a_few_batches_is_refused_before_anything_is_trained(words, tmp_path):
    with pytest.raises(ValueError, match="trainer.overfit_batches is not supported: it would put another order"):
        run_train(tmp_path / "run", *words, "+trainer.overfit_batches=2")
    assert read_status(tmp_path / "run").state == "failed" and not (tmp_path / "run/checkpoints").exists()

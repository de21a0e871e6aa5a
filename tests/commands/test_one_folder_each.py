"""Whose folder a run is, as users start them: by torchrun, at once, on a full disk, killed before it had a config."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import pytest

from diptych.config.trained import checkpoint_path
from diptych.parallel import checkpoints
from diptych.storage.run_status import RunStatus, read_status, write_status
from tiny_runs import ROOT, TINY_MODEL, TINY_ROOMS_SIZES, TINY_RUN, run_train
from tiny_sets import tiny_set
from working_folder import WorkingFolder

pytestmark = [pytest.mark.processes, pytest.mark.hostile("limits")]

WORDS = ["experiment=cir_rooms", *TINY_MODEL, *TINY_ROOMS_SIZES, *TINY_RUN, "evaluate_at_end=false"]
TWO = ["trainer=ddp_cpu", "trainer.precision=32-true", "data.training.batch_size=4"]


@pytest.fixture
def place(tmp_path):
    tiny_set("rooms", tmp_path / "data/rooms")
    return WorkingFolder(tmp_path)


def runs_in(place):
    """The folders of the runs that there are, and the status of each."""
    found = [path for path in (place.folder / "runs/cir_rooms").iterdir() if not path.is_symlink()]
    return {path: read_status(path) for path in found}


def test_the_processes_of_torchrun_train_in_one_folder(place):
    torchrun = ("torch.distributed.run", "--nproc-per-node", "2", str(ROOT / "train.py"))
    place.run(*torchrun, *WORDS, *TWO, real=True)
    ((run, status),) = runs_in(place).items()
    assert run.name.startswith("torchrun_") and (run / "checkpoints/last.ckpt").is_file()
    assert (status.state, status.processes, status.starts) == ("done", 2, 1)


def test_two_trainings_begun_at_once_have_a_folder_each(place):
    for started in [place.start("train.py", *WORDS, f"seed={seed}") for seed in (1, 2)]:
        started.ends()
    assert [status.state for status in runs_in(place).values()] == ["done"] * 2


@pytest.mark.slow
def test_a_full_disk_ends_both_processes_in_a_sentence(place):
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, former[1]))  # a checkpoint has 9 MB
    try:
        started = place.start("train.py", *WORDS, *TWO, real=True, real_children=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    said = started.ends(1)
    ((run, status),) = runs_in(place).items()
    assert "error: the training has ended at step 2, but not all of its checkpoints are on the disk" in said
    assert status.state == "failed" and "last.ckpt" in status.error
    assert not list((run / "checkpoints").iterdir())
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(run).encode() in _content(path)]
    assert not left


def _content(path):
    try:
        return path.read_bytes()
    except OSError:  # it has ended
        return b""


@pytest.mark.hostile("kills")
def test_a_run_killed_before_its_config_was_written_is_begun_again_by_its_own_command(place, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    words, run = [*WORDS, f"data_dir={place.folder / 'data'}"], place.folder / "run"
    write_status(run, RunStatus("running", overrides=tuple(words), starts=1))
    with pytest.raises(
        ValueError, match=r"no run to resume here \(no config.yaml\); the command .*experiment=cir_rooms"
    ):
        run_train(run, f"resume={run}")
    with pytest.raises(ValueError, match=rf"{run}/checkpoints/best.ckpt"):
        checkpoints.load(checkpoint_path(run), weights_alone=True)
    run_train(run, *words, f"resume={run}")
    assert read_status(run).state == "done" and (run / "checkpoints/last.ckpt").is_file()

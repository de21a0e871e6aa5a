"""An error of one process of two ends the job: its message, exit status 1, a status that says failed, nobody left."""

import signal
import time
from pathlib import Path

import pytest

from diptych.storage.run_status import read_status
from tiny_runs import TINY_MODEL, TINY_ROOMS_SIZES, TINY_RUN
from tiny_sets import tiny_set
from working_folder import WorkingFolder

pytestmark = pytest.mark.processes

FAULTY = '''
import os
import signal
import time

import lightning as L
import torch

from diptych.parallel.checkpoint_thread import ThreadedCheckpointIO


class OnceFull(ThreadedCheckpointIO):
    """Finds the disk full in the middle of the first checkpoint."""

    full = True

    def _write(self, checkpoint):
        sync = os.fsync
        if OnceFull.full:
            os.fsync = fail
        super()._write(checkpoint)
        OnceFull.full, os.fsync = False, sync


def fail(descriptor):
    raise OSError(28, "No space left on device")


class Faulty(L.Callback):
    """Fails on one rank at a place of the run."""

    def __init__(self, where, rank, numbers):
        self.where, self.rank, self.numbers = where, rank, numbers

    def on_train_start(self, trainer, module):
        with open(self.numbers, "a") as file:
            file.write(f"{os.getpid()}\\n")

    def _reached(self, where, trainer):
        if where == self.where and trainer.global_rank == self.rank:
            if where in ("killed", "waiting"):
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError(f"something is wrong in the {where} of process {self.rank}")

    def on_train_batch_start(self, trainer, module, batch, number):
        if number == 1:
            self._reached("step", trainer)
            self._reached("killed", trainer)
            self._reached("waiting", trainer)
            if self.where == "waiting":
                time.sleep(600)
            if self.where == "loss" and trainer.global_rank == self.rank:
                module.loss.forward = lambda embeddings, batch: {"loss": embeddings.query.sum() * torch.nan}

    def on_save_checkpoint(self, trainer, module, checkpoint):
        self._reached("saving", trainer)
        if self.where == "disk" and trainer.global_rank == 0:
            trainer.strategy.checkpoint_io.__class__ = OnceFull

    def on_validation_batch_end(self, trainer, *args):
        self._reached("validation", trainer)

    def on_test_batch_end(self, trainer, *args):
        self._reached("evaluation", trainer)

    def on_test_end(self, trainer, module):
        self._reached("scoring", trainer)
'''
RUN = [
    "experiment=cir_rooms",
    *TINY_MODEL,
    *TINY_RUN,
    *TINY_ROOMS_SIZES,
    "trainer=ddp_cpu",
    "trainer.max_steps=4",
    "trainer.val_check_interval=2",
    "trainer.precision=32-true",
    "data.training.batch_size=4",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    tiny_set("rooms", folder / "data/rooms")
    (folder / "faulty_parts.py").write_text(FAULTY)
    return WorkingFolder(folder)


def still_alive(rank_file: Path) -> list[str]:
    """The processes, of those that have written their numbers, which have not ended."""
    alive = []
    for line in rank_file.read_text().split():
        stat = Path(f"/proc/{line}/stat")
        try:
            state = stat.read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if state != "Z":
            alive.append(line)
    return alive


@pytest.mark.parametrize(
    ("where", "rank"),
    [
        ("step", 0),
        ("step", 1),
        ("loss", 1),
        ("saving", 0),
        ("saving", 1),
        ("validation", 1),
        ("evaluation", 1),
        ("killed", 1),
        ("killed", 0),
        ("waiting", 0),  # as with NCCL, which does not notice that the other is gone
    ],
)
def test_an_error_of_one_process_ends_the_job(place, where, rank):
    run_dir = place.folder / "runs" / f"{where}_{rank}"
    numbers = place.folder / f"{where}_{rank}.processes"
    fault = f"+callbacks.fault={{_target_: faulty_parts.Faulty, where: {where}, rank: {rank}, numbers: {numbers}}}"
    start = time.monotonic()
    name, first_is_killed = f"{where}_{rank}", rank == 0 and where in ("killed", "waiting")
    ended = -signal.SIGKILL if first_is_killed else 1
    how = {"real_children": True} if where == "waiting" else {}  # else their parent is not the first process
    said = place.run("train.py", *RUN, fault, f"hydra.run.dir={run_dir}", f"name={name}", status=ended, **how)
    while first_is_killed and still_alive(numbers):
        assert time.monotonic() - start < 120
        time.sleep(0.2)
    assert time.monotonic() - start < (120 if how else 60)  # two of them start coldly
    status = read_status(run_dir)
    if first_is_killed:
        assert status.state == "failed" and "gone" in status.error
        return
    reason = {"loss": "the loss is nan at step 1", "killed": "was killed from outside (SIGKILL)"}.get(
        where, f"something is wrong in the {where} of process {rank}"
    )
    assert status.state == "failed"
    assert reason in said
    assert reason in status.error or "process 1 of this job has failed" in status.error
    assert len(numbers.read_text().split()) == 2
    assert not still_alive(numbers)


def test_a_disk_that_is_full_for_a_while_is_logged_and_both_go_on_to_the_end(place):
    run_dir, numbers = place.folder / "runs/disk", place.folder / "disk.processes"
    fault = f"+callbacks.fault={{_target_: faulty_parts.Faulty, where: disk, rank: 0, numbers: {numbers}}}"
    said = place.run("train.py", *RUN, fault, f"hydra.run.dir={run_dir}", "name=disk")
    assert said.count("could not save the checkpoint") == 1 and "No space left on device" in said
    assert read_status(run_dir).state == "done" and (run_dir / "checkpoints/best.ckpt").exists()
    assert not still_alive(numbers)

"""An error of one process of two ends the job: its message, exit status 1, a status that says failed, nobody left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from diptych.storage.run_status import read_status
from tiny_runs import ROOT, TINY_MODEL, TINY_ROOMS_SIZES, TINY_RUN
from tiny_sets import tiny_set

pytestmark = pytest.mark.processes

FAULTY = '''
import os
import signal

import lightning as L
import torch


class Faulty(L.Callback):
    """Fails on one rank at a place of the run."""

    def __init__(self, where, rank):
        self.where, self.rank = where, rank

    def _reached(self, where, trainer):
        if where == self.where and trainer.global_rank == self.rank:
            if where == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError(f"something is wrong in the {where} of process {self.rank}")

    def on_train_batch_start(self, trainer, module, batch, number):
        if number == 1:
            self._reached("step", trainer)
            self._reached("killed", trainer)
            if self.where == "loss" and trainer.global_rank == self.rank:
                module.loss.forward = lambda embeddings, batch: {"loss": embeddings.query.sum() * torch.nan}

    def on_save_checkpoint(self, trainer, module, checkpoint):
        self._reached("saving", trainer)

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
    "trainer.devices=2",
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
    return folder


def train(place: Path, name: str, *words: str) -> tuple[subprocess.CompletedProcess, float, Path]:
    run_dir = place / "runs" / name
    command = [sys.executable, str(ROOT / "train.py"), *RUN, *words, f"hydra.run.dir={run_dir}", f"name={name}"]
    start = time.monotonic()
    with subprocess.Popen(command, cwd=place, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            _, said = process.communicate(timeout=300)
        finally:
            seconds = time.monotonic() - start
            left = processes_of(process.pid)
            for number in left:
                os.kill(number, signal.SIGKILL)
    done = subprocess.CompletedProcess(command, process.returncode, left, said)
    return done, seconds, run_dir


def processes_of(session: int) -> list[int]:
    """What runs in the session, loaders' workers left out, which look for their parent every few seconds."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("where", ["step", "loss", "saving", "validation", "evaluation", "killed"])
def test_an_error_of_one_process_ends_the_job(place, where, rank):
    fault = f"+callbacks.fault={{_target_: faulty_parts.Faulty, where: {where}, rank: {rank}}}"
    done, seconds, run_dir = train(place, f"{where}_{rank}", fault)
    status = read_status(run_dir)
    if (where, rank) == ("killed", 0):
        assert done.returncode == -signal.SIGKILL  # nobody is left to say it
    else:
        assert done.returncode == 1
        assert status.state == "failed"
        said = {"loss": "the loss is nan at step 1", "killed": "was killed from outside (SIGKILL)"}.get(
            where, f"something is wrong in the {where} of process {rank}"
        )
        assert said in done.stderr
        assert said in status.error or "process 1 of this job has failed" in status.error
    assert not done.stdout, "processes are left"
    assert seconds < 120

"""Tiny runs of two processes each, long enough to be hit in their middle, and what they leave."""

from __future__ import annotations

import csv
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from loopback_cluster import LoopbackCluster, wait_until

from diptych.storage.run_status import read_status
from tiny_runs import ROOT, TINY_MODEL, TINY_ROOMS_SIZES, TINY_RUN

log = logging.getLogger(__name__)

_WARNING = re.compile(r"/\S+\.py:\d+: ")

STEPS = 120
RUN = [
    "experiment=cir_rooms",
    *TINY_MODEL,
    *(word for word in TINY_RUN if not word.startswith(("trainer=", "trainer.max_steps", "data.training.batch_size"))),
    *TINY_ROOMS_SIZES,
    "data.training.batch_size=4",  # a process; with two of them three steps a pass
    f"trainer.max_steps={STEPS}",
    "trainer.val_check_interval=50",
    "callbacks.checkpointing.every_n_steps=50",
]
TWO_HERE = ["trainer=ddp_cpu", "trainer.devices=2"]
ALL_AT_ONCE = ["cluster=parallel", "cluster.jobs=3"]
TWO_TASKS = ["cluster=slurm", "cluster.gpus_per_node=0", "cluster.tasks_per_node=2", "cluster.cpus_per_task=1"]
TWO_NODES = [*TWO_TASKS[:2], "cluster.nodes=2", "cluster.tasks_per_node=1", "cluster.cpus_per_task=1"]


class Command:
    """A command that goes on while the test does; its output lies in a file."""

    def __init__(self, words: Sequence[str], folder: Path, environment: Mapping[str, str], output: Path) -> None:
        self.output = output
        with output.open("a") as file:
            self.process = subprocess.Popen(
                words, cwd=folder, env=os.environ | environment, stdout=file, stderr=subprocess.STDOUT
            )

    def finish(self, seconds: float = 1800.0) -> None:
        """Waits for its end. AssertionError, with its last lines, unless the status is 0."""
        status = self.process.wait(seconds)
        assert status == 0, f"{self.process.args} ended with status {status}:\n{self.last_lines()}"
        log.info("%s:\n%s", self.output.stem, self.last_lines())

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Waits for something that the command brings about."""

        def reached() -> bool:
            assert self.process.poll() is None, f"no {what}, but the end of the command:\n{self.last_lines()}"
            return condition()

        wait_until(reached, what, seconds=900.0, explain=self.last_lines)

    def last_lines(self) -> str:
        """The end of its output without Python's warnings, lines cut to 200 characters."""
        lines = self.output.read_text(errors="replace").splitlines()
        own = [line[:200] for line in lines if not _WARNING.match(line)]
        return "\n".join(own[-60:])


class Place:
    """A working folder with tiny data, and commands that are run there, with the environment that leads to both."""

    def __init__(self, folder: Path, slurm: LoopbackCluster) -> None:
        self.folder = folder
        self._environment = slurm.environment | {
            "DIPTYCH_DATA": str(folder / "data"),
            "DIPTYCH_RUNS": str(folder / "runs"),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "160",
        }

    def start(self, name: str, *words: str) -> Command:
        """Any command; it writes to `<name>.txt`."""
        return Command(words, self.folder, self._environment, self.folder / f"{name}.txt")

    def train(self, name: str, *words: str) -> Command:
        """`python train.py` with these words."""
        return self.start(name, sys.executable, str(ROOT / "train.py"), *words)


def losses(run: Path) -> list[tuple[str, str]]:
    """(step, loss) of all logged training steps."""
    path = run / "metrics.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [(row["step"], row["train/loss"]) for row in csv.DictReader(file) if row.get("train/loss")]


def same_weights(run: Path, other: Path) -> bool:
    """Whether the last checkpoints agree in every bit."""
    one, two = (
        torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for folder in (run, other)
    )
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def job_id(run: Path) -> str:
    return json.loads((run / "job.json").read_text())["job_id"]


def continued_at(run: Path) -> list[int]:
    """The steps at which the run was gone on with, from the log of its first task."""
    text = "".join(path.read_text() for path in sorted((run / "slurm").glob("*_0_log.out")))
    return [int(step) for step in re.findall(r"continuing \S+ at step (\d+)", text)]


def assert_same_run(run: Path, other: Path) -> None:
    """Both are done, with the same weights, bit by bit, and the same loss at every step, each logged once."""
    for folder in (run, other):
        status = read_status(folder)
        assert status is not None and status.state == "done" and status.step == STEPS, (folder, status)
    assert same_weights(run, other), f"{run} and {other} have other weights"
    assert losses(run) == losses(other)
    assert len(losses(run)) == STEPS


def table(sweep: Path) -> list[dict[str, str]]:
    with (sweep / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))

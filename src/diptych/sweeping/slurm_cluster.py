"""Runs of a sweep as SLURM jobs, submitted and queued again by submitit."""

from __future__ import annotations

import hashlib
import logging
import os
import runpy
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from diptych.extras import require
from diptych.storage.json_files import read_json, write_json
from diptych.storage.run_status import change_status
from diptych.sweeping.cluster import Run

log = logging.getLogger(__name__)

JOB = "job.json"  # in the run's folder: the id of its SLURM job
_POLL_SECONDS = 5.0
_SIGNAL = "USR1"  # which SLURM sends before the time limit; submitit's own default is USR2
_USUAL_REASONS = ("None", "Priority", "Resources", "BeginTime")  # of a job that will run in its turn
_REQUEUES = 1000  # after time limits; preemptions are not counted


class SlurmCluster:
    """One job per run, `nodes` x (`tasks_per_node`, one per GPU unless set) tasks, Lightning taking its ranks from
    SLURM. The job of a training is `train.py resume=RUN_DIR`: whenever it is queued again it resumes from its last
    checkpoint; evaluations and pipelines go on with what they have written.

    `sbatch` holds further parameters of sbatch by name, `setup` shell lines that come before the run. `time_min` is
    the limit of one job in minutes; `signal_seconds` before it the run is told to save, and is queued again.
    """

    on_this_machine = False

    def __init__(
        self,
        nodes: int = 1,
        gpus_per_node: int = 1,
        tasks_per_node: int | None = None,
        cpus_per_task: int = 8,
        time_min: int = 1440,
        partition: str | None = None,
        sbatch: Mapping[str, Any] | None = None,
        setup: Sequence[str] = (),
        signal_seconds: int = 120,
    ) -> None:
        if gpus_per_node > 0 and tasks_per_node not in (None, gpus_per_node):
            raise ValueError(
                f"cluster.tasks_per_node={tasks_per_node} with cluster.gpus_per_node={gpus_per_node}: one task drives "
                "one GPU; leave tasks_per_node unset"
            )
        require("submitit")
        self.at_once = None
        self.nodes, self.gpus_per_node = nodes, gpus_per_node
        self.tasks_per_node = tasks_per_node or gpus_per_node or 1
        self._parameters = {
            "nodes": nodes,
            "tasks_per_node": self.tasks_per_node,
            "cpus_per_task": cpus_per_task,
            "timeout_min": time_min,
            "slurm_partition": partition,
            "slurm_signal_delay_s": signal_seconds,
            "slurm_additional_parameters": dict(sbatch or {}),
            "slurm_setup": [f"export SUBMITIT_PREEMPT_SIGNAL={_SIGNAL}", *setup],
            # Since 22.05 srun does not take the cores from sbatch; one task that fails would leave the others waiting.
            "slurm_srun_args": [f"--cpus-per-task={cpus_per_task}", "--kill-on-bad-exit=1"],
            "stderr_to_stdout": True,
        }
        if gpus_per_node:
            self._parameters["gpus_per_node"] = gpus_per_node
        self._queue = _Queue()

    def overrides(self, chosen: Mapping[str, str]) -> list[str]:
        """As many devices as tasks, and the strategy for several unless a trainer is chosen."""
        for key in ("trainer.devices", "trainer.num_nodes"):
            if key in chosen:
                raise ValueError(
                    f"{key}={chosen[key]}: cluster=slurm sets it; say cluster.nodes, cluster.gpus_per_node"
                )
        words = [f"trainer.devices={self.tasks_per_node}", f"trainer.num_nodes={self.nodes}"]
        if self.nodes * self.tasks_per_node > 1 and "trainer" not in chosen:
            words.insert(0, "trainer=ddp" if self.gpus_per_node else "trainer=ddp_cpu")
        return words

    def execute(self, run: Run) -> str | None:
        """Submits the run, unless its job of an earlier sweep is still there, and waits until it is done or gone."""
        if shutil.which("sbatch") is None:
            raise ValueError("cluster=slurm: there is no sbatch on this machine; start the sweep on a login node")
        path, name = run.folder / JOB, _job_name(run.folder)
        # By name too: the sweep may have been killed between the submission and its note.
        job_id = (read_json(path, "remove it", missing_ok=True, shape={"job_id?": str}) or {}).get(
            "job_id"
        ) or self._queue.id_of(name)
        if job_id is not None and self._queue.job(job_id):
            log.info("run %s: its job %s is still there", run.folder.name, job_id)
        else:
            change_status(run.folder, state="waiting", error=None)
            job_id = self._submit(run, name)
            log.info("run %s: job %s; it writes to %s", run.folder.name, job_id, run.folder / "slurm")
        write_json(path, {"job_id": job_id}, indent=None)
        time.sleep(_POLL_SECONDS)  # an answer of the queue is used for so long: it may be older than the job
        told = ""
        while job := self._queue.job(job_id):
            if job.state == "PENDING" and job.reason not in (told, *_USUAL_REASONS):
                log.warning("run %s: SLURM lets job %s wait: %s", run.folder.name, job_id, job.reason)
                told = job.reason
            time.sleep(_POLL_SECONDS)
        return f"its SLURM job {job_id} is gone: see {run.folder / 'slurm'}"

    def _submit(self, run: Run, name: str) -> str:
        os.environ["SUBMITIT_PREEMPT_SIGNAL"] = _SIGNAL  # before the import, which reads it
        import submitit

        executor = submitit.AutoExecutor(run.folder / "slurm", cluster="slurm", slurm_max_num_timeout=_REQUEUES)
        executor.update_parameters(name=name, **self._parameters)
        return str(executor.submit(JobOfRun(run.command)).job_id)


class JobOfRun:
    """What a task of the job does; pickled by submitit, called again whenever the job was queued again."""

    def __init__(self, command: Sequence[str]) -> None:
        self.command = tuple(command)

    def __call__(self) -> None:
        """Becomes the command, in this process: signals go to whom SLURM sends them."""
        from diptych.config.command_line import set_command_line

        task = os.environ.get("SLURM_PROCID", "0")
        own_log = [] if task == "0" else [f"hydra.job.name=task_{task}"]
        _, program, *words = self.command
        if program == "-m":
            module, *words = words
            set_command_line([module, *words, *own_log])
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        else:
            set_command_line([program, *words, *own_log])
            runpy.run_path(program, run_name="__main__")

    def checkpoint(self) -> Any:
        """For submitit: the job that is queued again is the same one."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


def _job_name(run_dir: Path) -> str:
    """Readable, and of this folder only."""
    place = hashlib.blake2b(str(run_dir).encode(), digest_size=4).hexdigest()
    return f"diptych-{run_dir.parent.name}-{run_dir.name}-{place}"


class _Job(NamedTuple):
    name: str
    state: str
    reason: str  # why it does not run


class _Queue:
    """The jobs of this user that wait, run or are about to be queued again; SLURM is asked once every few seconds for
    all threads together, and again when it does not answer.
    """

    def __init__(self) -> None:
        self._lock, self._asked, self._jobs = threading.Lock(), -_POLL_SECONDS, dict[str, _Job]()

    def job(self, job_id: str) -> _Job | None:
        """The job, if it is there."""
        return self._current().get(job_id)

    def id_of(self, name: str) -> str | None:
        """The id of the job of that name, if there is one."""
        return next((job_id for job_id, job in self._current().items() if job.name == name), None)

    def _current(self) -> dict[str, _Job]:
        with self._lock:
            while time.monotonic() - self._asked >= _POLL_SECONDS:
                command = ["squeue", "--noheader", "--format=%A|%j|%T|%r", f"--user={os.getuid()}"]
                answer = subprocess.run(command, capture_output=True, text=True)
                if answer.returncode == 0:
                    rows = [line.split("|") for line in answer.stdout.splitlines()]
                    self._asked, self._jobs = time.monotonic(), {row[0]: _Job(*row[1:]) for row in rows}
                else:
                    log.warning("squeue: %s", answer.stderr.strip())
                    time.sleep(_POLL_SECONDS)
            return self._jobs

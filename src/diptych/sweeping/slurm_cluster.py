"""Runs of a sweep as SLURM jobs, submitted and queued again by submitit."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from diptych.run_status import change_status
from diptych.sweeping.cluster import Run

log = logging.getLogger(__name__)

JOB = "job.json"  # in the run's folder: the id of its SLURM job
_POLL_SECONDS = 5.0
_SIGNAL = "USR1"  # which SLURM sends before the time limit; submitit's own default is USR2
_REQUEUES = 1000  # after time limits; preemptions are not counted


class SlurmCluster:
    """One job per run, `nodes` x (`tasks_per_node`, one per GPU unless set) tasks, Lightning taking its ranks from
    SLURM. The job is `train.py resume=RUN_DIR`: whenever it is queued again it goes on from its last checkpoint.

    `sbatch` holds further parameters of sbatch by name, `setup` shell lines that come before the run. `time_min` is
    the limit of one job in minutes; `signal_seconds` before it the run is told to save, and is queued again.
    """

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
        path = run.folder / JOB
        job_id = json.loads(path.read_text())["job_id"] if path.is_file() else None
        if job_id is not None and self._queue.holds(job_id):
            log.info("run %s: its job %s is still there", run.folder.name, job_id)
        else:
            change_status(run.folder, state="waiting", error=None)
            job_id = self._submit(run)
            path.write_text(json.dumps({"job_id": job_id}) + "\n")
            log.info("run %s: job %s; it writes to %s", run.folder.name, job_id, run.folder / "slurm")
        time.sleep(_POLL_SECONDS)  # an answer of the queue is used for so long: it may be older than the job
        while self._queue.holds(job_id):
            time.sleep(_POLL_SECONDS)
        return f"its SLURM job {job_id} is gone: see {run.folder / 'slurm'}"

    def _submit(self, run: Run) -> str:
        if shutil.which("sbatch") is None:
            raise ValueError("cluster=slurm: there is no sbatch on this machine; start the sweep on a login node")
        os.environ["SUBMITIT_PREEMPT_SIGNAL"] = _SIGNAL  # before the import, which reads it
        import submitit

        executor = submitit.AutoExecutor(run.folder / "slurm", cluster="slurm", slurm_max_num_timeout=_REQUEUES)
        executor.update_parameters(name=f"diptych-{run.folder.parent.name}-{run.folder.name}", **self._parameters)
        return str(executor.submit(JobOfRun(run.command)).job_id)


class JobOfRun:
    """What a task of the job does; pickled by submitit, called again whenever the job was queued again."""

    def __init__(self, command: Sequence[str]) -> None:
        self.command = tuple(command)

    def __call__(self) -> None:
        """Becomes `train.py` with the command's words, in this process: signals go to whom SLURM sends them."""
        from diptych.composition import entry_point
        from diptych.training import train

        task = os.environ.get("SLURM_PROCID", "0")
        own_log = [] if task == "0" else [f"hydra.job.name=train_task_{task}"]
        sys.argv = [*self.command[1:], *own_log]
        entry_point("train", train)

    def checkpoint(self) -> Any:
        """For submitit: the job that is queued again is the same one."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


class _Queue:
    """Which jobs of this user SLURM still has, asked once every few seconds for all threads together."""

    def __init__(self) -> None:
        self._lock, self._asked, self._jobs = threading.Lock(), 0.0, frozenset[str]()

    def holds(self, job_id: str) -> bool:
        """Whether the job waits, runs or is about to be queued again. When SLURM does not answer it is asked again."""
        with self._lock:
            while time.monotonic() - self._asked >= _POLL_SECONDS or not self._asked:
                command = ["squeue", "--noheader", "--format=%A", f"--user={os.getuid()}"]
                answer = subprocess.run(command, capture_output=True, text=True)
                if answer.returncode == 0:
                    self._asked, self._jobs = time.monotonic(), frozenset(answer.stdout.split())
                else:
                    log.warning("squeue: %s", answer.stderr.strip())
                    time.sleep(_POLL_SECONDS)
            return job_id in self._jobs

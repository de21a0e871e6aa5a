"""Runs of a sweep on this machine, one or several at a time."""

from __future__ import annotations

import ctypes
import logging
import os
import queue
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from diptych.storage.run_status import change_status
from diptych.sweeping.cluster import Run

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1  # prctl(2)
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None  # opened here: after a fork hardly anything is safe


class LocalCluster:
    """`jobs` runs at a time; with `gpus_per_job` each sees that many GPUs of its own, and as many runs go at a time as
    the machine's GPUs allow, at most `jobs`.

    One run at a time writes to the terminal, several into `output.log` of their folders. When the sweep is stopped or
    killed, its runs are told to save a checkpoint and stop (Linux).
    """

    on_this_machine = True

    def __init__(self, jobs: int = 1, gpus_per_job: int | None = None) -> None:
        if jobs < 1 or (gpus_per_job is not None and gpus_per_job < 1):
            raise ValueError(f"cluster.jobs={jobs} and cluster.gpus_per_job={gpus_per_job} must be 1 or more")
        self.at_once: int | None = jobs
        self._gpus = None
        if gpus_per_job is not None:
            shares = _shares(visible_gpus(), gpus_per_job)
            self.at_once = min(jobs, len(shares))
            self._gpus = queue.SimpleQueue[str]()
            for share in shares:
                self._gpus.put(share)

    def overrides(self, chosen: Mapping[str, str]) -> list[str]:
        """None: the devices that a run chose are there on this machine."""
        return []

    def execute(self, run: Run) -> str | None:
        """Runs the command to its end; says how it died if it did."""
        change_status(run.folder, state="waiting", error=None)
        gpus = self._gpus.get() if self._gpus else None
        try:
            return self._execute(run, os.environ | ({} if gpus is None else {"CUDA_VISIBLE_DEVICES": gpus}))
        finally:
            if self._gpus and gpus:
                self._gpus.put(gpus)

    def _execute(self, run: Run, environment: Mapping[str, str]) -> str | None:
        alone = self.at_once == 1
        log_path = Path(os.devnull) if alone else run.folder / "output.log"
        with log_path.open("ab") as file:
            output = None if alone else file
            process = subprocess.Popen(
                run.command, env=environment, stdout=output, stderr=output, preexec_fn=end_with_parent
            )
            code = process.wait()
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"ended with status {code}" + ("" if alone else f": see {log_path}") if code else None


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name for name in given.split(",") if name]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def _shares(gpus: list[str], size: int) -> list[str]:
    if len(gpus) < size:
        raise ValueError(f"cluster.gpus_per_job={size}, but this machine has {len(gpus)} GPUs to give")
    return [",".join(gpus[start : start + size]) for start in range(0, len(gpus) - size + 1, size)]


def end_with_parent() -> None:
    """In the child, before it becomes the run: SIGTERM (save and stop) when the sweep's process is gone, or the thread
    that started it.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

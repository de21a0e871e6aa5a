"""Commands as users type them, in a working folder of the test's: started, waited for, killed when something is so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import patience
from tiny_runs import ROOT
from warm_python import warm

_TRIES = 20
_STOPPED = "continue with: python train.py resume="  # said by a run that was told to save and stop


class Started:
    """A command that was started: `output` is what it has said so far."""

    def __init__(self, process: subprocess.Popen, log: Path) -> None:
        self.process, self._log = process, log

    @property
    def output(self) -> str:
        return self._log.read_text()

    def ends(self, status: int = 0) -> str:
        """Waits for its end with this exit status; returns its output."""
        self.process.wait(patience.SECONDS)
        assert self.process.returncode == status, self.output[-3000:]
        return self.output


class WorkingFolder:
    """A folder with `data` and `runs` in it, which the commands that are started there find.

    A command is a script of the checkout (`train.py`) or a module (`diptych.pipeline`). It is a fork of the warm
    process, unless it is started for `real`: at least one test of each command does that. With `real_children`, what
    it starts itself is started for real, such as its other ranks: with hashes of words of their own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {"DIPTYCH_DATA": str(folder / "data"), "DIPTYCH_RUNS": str(folder / "runs")}
        self._logs = folder / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)

    def start(self, command: str, *words: str, real: bool = False, real_children: bool = False) -> Started:
        log = self._logs / f"{len(list(self._logs.iterdir()))}.log"
        what = [str(ROOT / command)] if command.endswith(".py") else ["-m", command]
        with log.open("w") as file:
            process = subprocess.Popen(
                [sys.executable if real else warm.python(), *what, *words],
                cwd=self.folder,
                env=self.environment | ({"WARM_PYTHON_CHILDREN": "real"} if real_children else {}),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        return Started(process, log)

    def interrupt(self, number: int, when: Callable[[], object], output: Path, command: str, *words: str) -> Started:
        """The command, which got the signal as soon as the condition held, and has ended because of it.

        On a busy machine it may be done before anybody has looked; then `output` is removed, and it is started again.
        """
        for _ in range(_TRIES):
            started = self.start(command, *words)
            patience.wait_until(lambda s=started: when() or s.process.poll() is not None, lambda s=started: s.output)
            assert when(), started.output[-3000:]
            started.process.send_signal(number)
            started.process.wait(patience.SECONDS)
            if started.process.returncode == -number or _STOPPED in started.output:
                return started
            assert started.process.returncode == 0, started.output[-3000:]
            shutil.rmtree(output)
        raise AssertionError(f"{_TRIES} times it was done before it got the signal")

    def run(self, command: str, *words: str, status: int = 0, **how: bool) -> str:
        """Output of the command, which must end with this exit status; `how` is for `start`."""
        return self.start(command, *words, **how).ends(status)

"""Servers that steps ask: each lives from the first step that needs it to the last, and never longer than the study."""

from __future__ import annotations

import logging
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from diptych.storage.json_files import read_json, write_json
from diptych.storage.run_status import change_status
from diptych.studying.plan import Step
from diptych.studying.steps import Steps
from diptych.sweeping.local_cluster import end_with_parent

log = logging.getLogger(__name__)

SAID = "server.json"  # in the step's folder: the first line that the server has written
_ADDRESS = re.compile(r"https?://\S+")
_PATIENCE_S = 10


class Servers:
    """The servers of a study, by the name of their step; a context manager, which ends them all.

    To be used from the main thread: a server is told to end when the thread that started it does (Linux), so that a
    study that is killed leaves none behind.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._running: dict[str, tuple[Step, subprocess.Popen[str], str]] = {}

    def __enter__(self) -> Servers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.keep(set())

    @property
    def addresses(self) -> Mapping[str, str]:
        """Of those that run, by name."""
        return {name: address for name, (_, _, address) in self._running.items()}

    def start(self, step: Step) -> None:
        """Starts the step's server, unless it runs.

        Raises:
            ValueError: it has ended without saying its address; its status says so, too.
        """
        if step.name in self._running and self._running[step.name][1].poll() is None:
            return
        folder = self._steps.folder(step.name)
        change_status(folder, state="running", overrides=step.words, error=None)
        command = self._steps.server_command(step, self.addresses)
        with (folder / "output.log").open("ab") as output:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=output, text=True, preexec_fn=end_with_parent
            )
        assert process.stdout is not None  # it is a pipe
        line = process.stdout.readline().strip()
        address = _ADDRESS.search(line)
        if address is None:
            process.kill()
            error = f"ended with status {process.wait()}, no address in its first line: see {folder / 'output.log'}"
            change_status(folder, state="failed", error=error)
            raise ValueError(f"{step.name}: {error}")
        write_json(folder / SAID, {"said": line})
        self._running[step.name] = step, process, address[0]
        log.info("%s: serves at %s", step.name, address[0])

    def keep(self, needed: set[str]) -> None:
        """Ends all but those that are still needed."""
        for name in [name for name in self._running if name not in needed]:
            step, process, _ = self._running.pop(name)
            process.terminate()
            try:
                process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            change_status(self._steps.folder(step.name), state="done")


def said_by(folder: Path) -> str:
    """The first line that the server of the step in `folder` has written; empty where none ran."""
    return (read_json(folder / SAID, missing_ok=True, shape={"said": str}) or {"said": ""})["said"]

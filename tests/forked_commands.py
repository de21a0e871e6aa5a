"""`python -m diptych.pipeline` many times, quickly: forks of the warm process; some are killed where a test wants."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import patience
from warm_python import warm

# What a test puts before it defines `arm(*die)`, which is called in a command that is to be killed.
_DYING = """
import json, os, signal, sys, threading
from diptych.commands import pipeline
from diptych.config import command_line, short_names
from diptych.stages.running import runner

{preparation}

arm(*json.loads(sys.argv.pop(1)))
sys.exit(command_line.entry_point("pipeline", pipeline.run_pipeline, rewrite=short_names.with_full_names))
"""


class ForkedCommands:
    """Runs commands in `folder`. `preparation` is Python that defines `arm`, for those that are to die."""

    def __init__(self, folder: Path, environment: Mapping[str, str], preparation: str) -> None:
        self.folder, self.environment = folder, dict(environment)
        self._dying = _DYING.format(preparation=preparation)

    def together(
        self,
        *all_words: Sequence[str],
        die: Sequence[Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> list[tuple[int, str]]:
        """Exit code and output of commands that run at the same time."""
        what = ["-m", "diptych.pipeline"] if die is None else ["-c", self._dying, json.dumps(die)]
        logs = [self.folder / f"log{number}" for number in range(len(all_words))]
        processes = [
            self._start([warm.python(), *what, *words], log, self.environment | dict(environment or {}))
            for words, log in zip(all_words, logs, strict=True)
        ]
        codes = [process.wait(patience.SECONDS) for process in processes]
        return [(code, log.read_text()) for code, log in zip(codes, logs, strict=True)]

    def _start(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen:
        with log.open("w") as file:
            return subprocess.Popen(
                command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )

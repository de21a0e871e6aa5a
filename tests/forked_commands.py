"""`python -m diptych.pipeline` many times, quickly: one process imports, and each command runs in a fork of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# What a test puts before it defines `arm(*die)`, which is called in the fork of a command that is to be killed.
_SERVER = """
import json, os, signal, sys, threading
from diptych.commands import pipeline
from diptych.config import command_line
from diptych.stages.running import runner

def arm(*die):
    raise NotImplementedError

{preparation}

def start(job):
    child = os.fork()
    if child:
        return child
    output = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1), os.dup2(output, 2)
    sys.argv[1:] = job["words"]
    os.environ.update(job["environment"])
    if job["die"]:
        arm(*job["die"])
    code = 1
    try:
        code = command_line.entry_point("pipeline", pipeline.run_pipeline)
    except SystemExit as end:
        code = end.code
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)

for line in sys.stdin:
    children = [start(job) for job in json.loads(line)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    print(json.dumps(codes), flush=True)
"""


class ForkedCommands:
    """Runs commands in `folder`; a context manager. `preparation` is Python that runs once, before all of them."""

    def __init__(self, folder: Path, environment: Mapping[str, str], preparation: str) -> None:
        self.folder, self.environment, self.preparation = folder, environment, preparation

    def __enter__(self) -> ForkedCommands:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER.format(preparation=self.preparation)],
            cwd=self.folder,
            env=dict(self.environment),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def together(
        self,
        *all_words: Sequence[str],
        die: Sequence[Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> list[tuple[int, str]]:
        """Exit code and output of commands that run at the same time."""
        logs = [self.folder / f"log{number}" for number in range(len(all_words))]
        jobs = [
            {"words": list(words), "die": die, "log": str(log), "environment": dict(environment or {})}
            for words, log in zip(all_words, logs, strict=True)
        ]
        self._process.stdin.write(json.dumps(jobs) + "\n")
        self._process.stdin.flush()
        codes = json.loads(self._process.stdout.readline())
        return [(code, log.read_text()) for code, log in zip(codes, logs, strict=True)]

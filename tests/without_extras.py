"""A Python in which the packages of the extras are as good as not installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

# Hides the packages, imports libraries of the core, and runs every script that it is asked for in a fork of itself:
# for each to import them again would take longer than all the rest of the tests that use it. Nothing of Diptych is
# imported but the list of the extras.
PROCESS = """
import importlib, json, os, sys, traceback
from importlib.machinery import PathFinder
from importlib.metadata import Prepared

from diptych.extras import PACKAGES

NAMES = {Prepared.normalize(package.name) for package in PACKAGES.values()}


class WithoutExtras(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in PACKAGES else PathFinder.find_spec(name, path, target)

    @classmethod
    def find_distributions(cls, *arguments):
        found = PathFinder.find_distributions(*arguments)
        return (one for one in found if Prepared.normalize(one.metadata["Name"]) not in NAMES)


sys.meta_path[:] = [WithoutExtras if finder is PathFinder else finder for finder in sys.meta_path]
for name in ("torch", "lightning", "transformers", "open_clip"):
    importlib.import_module(name)


def run(job):
    for number, path in ((1, job["output"]), (2, job["errors"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    try:
        exec(job["script"], {"__name__": "__main__"})
    except SystemExit as end:
        return end.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


for line in sys.stdin:
    child = os.fork()
    if child == 0:
        code = run(json.loads(line))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class PythonWithoutExtras:
    """Runs scripts; `folder` is for their outputs. A context: the process ends with it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> PythonWithoutExtras:
        with (self._folder / "log").open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROCESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()  # to end as Python does takes it seconds
        self._process.communicate()

    def run(self, script: str) -> tuple[int, str, str]:
        """The script's exit status, output and error output."""
        number = len(list(self._folder.iterdir()))
        output, errors = self._folder / f"{number}.out", self._folder / f"{number}.err"
        job = {"script": script, "output": str(output), "errors": str(errors)}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, (self._folder / "log").read_text()
        return int(answer), output.read_text(), errors.read_text()

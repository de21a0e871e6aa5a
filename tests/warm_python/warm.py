"""`python()`: the path of an executable that starts commands as Python does, without importing the libraries again.

One warm process serves a test run, also its xdist workers; it starts when it is first wanted and ends with the run.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_FOLDER, _OWNER = "DIPTYCH_TESTS_WARM_FOLDER", "DIPTYCH_TESTS_WARM_OWNER"  # told to the xdist workers
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def begin(at_once: bool = False) -> None:
    """Called once, by the process that owns the test run. With `at_once` the warm process imports the libraries while
    the tests are collected, not when somebody asks for it.
    """
    os.environ[_FOLDER] = tempfile.mkdtemp(prefix="warm")  # short: the path of a socket has at most 107 letters
    os.environ[_OWNER] = str(os.getpid())
    os.environ.update(_ONE_THREAD)  # of everything that is started: the same as of the warm process
    if at_once:
        python()


def end() -> None:
    """Called once, by the same process; the warm process ends with it."""
    shutil.rmtree(os.environ[_FOLDER], ignore_errors=True)


def folder() -> Path:
    """A folder of this test run, shared by its processes, which is gone with it."""
    return Path(os.environ[_FOLDER])


def python() -> str:
    """What a test starts in the place of `sys.executable`."""
    if sys.platform != "linux":
        return sys.executable
    stand_in = folder() / "python"
    with (folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stand_in.exists():
            _start(folder(), stand_in)
    return str(stand_in)


def use_for_multiprocessing() -> None:
    """Processes that are spawned, and the server of `forkserver`, are forks of the warm process from now on."""
    multiprocessing.set_executable(python())


def _start(folder: Path, stand_in: Path) -> None:
    address = folder / "socket"
    command = [sys.executable, str(_HERE / "process.py"), str(address), str(stand_in), os.environ[_OWNER]]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
    while not address.exists() and process.poll() is None:
        time.sleep(0.01)
    stand_in.write_text(f"#!{sys.executable} -IS\n" + (_HERE / "stand_in.py").read_text())
    stand_in.chmod(0o755)

"""Workers of a pool end with the process that started them, however that ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import patience

SCRIPT = """
import os, sys, time
from pathlib import Path
from diptych.storage.processes import run_tasks

def work(number):
    (Path(sys.argv[1]) / str(os.getpid())).touch()
    time.sleep(10_000)

if __name__ == "__main__":
    run_tasks(work, range(4), 2, 1, "", False)
"""


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.processes
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_its_parent(number, tmp_path):
    script, at_work = tmp_path / "script.py", tmp_path / "at_work"
    script.write_text(SCRIPT)
    at_work.mkdir()
    parent = subprocess.Popen([sys.executable, str(script), str(at_work)])
    patience.wait_until(lambda: len(list(at_work.iterdir())) == 2 or parent.poll() is not None, lambda: "no workers")
    workers = [int(path.name) for path in at_work.iterdir()]
    assert len(workers) == 2
    os.kill(parent.pid, number)
    parent.wait(patience.SECONDS)
    patience.wait_until(lambda: all(map(is_gone, workers)), lambda: f"still there: {workers}")

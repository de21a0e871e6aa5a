"""Runs as processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import patience
from diptych.sweeping.cluster import Run
from diptych.sweeping.local_cluster import LocalCluster, visible_gpus

pytestmark = pytest.mark.processes


def run_of(folder, code):
    folder.mkdir(exist_ok=True)
    return Run(folder, (sys.executable, "-c", code))


def test_a_run_that_ends_well_leaves_nothing_to_say(tmp_path, capfd):
    assert LocalCluster().execute(run_of(tmp_path, "print('hello')")) is None
    assert capfd.readouterr().out == "hello\n"  # alone, it has the terminal


def test_how_a_run_died_is_said(tmp_path):
    assert LocalCluster().execute(run_of(tmp_path, "raise SystemExit(3)")) == "ended with status 3"
    code = "import os; os.kill(os.getpid(), 9)"
    assert LocalCluster().execute(run_of(tmp_path, code)) == "killed by SIGKILL"


def test_several_write_to_their_own_logs(tmp_path, capfd):
    cluster = LocalCluster(jobs=2)
    runs = [run_of(tmp_path / str(number), f"print({number}); raise SystemExit({number})") for number in range(2)]
    with ThreadPoolExecutor(2) as threads:
        said = list(threads.map(cluster.execute, runs))
    assert said == [None, f"ended with status 1: see {tmp_path / '1/output.log'}"]
    assert [(tmp_path / f"{number}/output.log").read_text() for number in range(2)] == ["0\n", "1\n"]
    assert capfd.readouterr().out == ""


def test_each_run_sees_gpus_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2,5,7,9")
    cluster = LocalCluster(jobs=8, gpus_per_job=2)
    assert cluster.at_once == 2  # the fifth is left over
    code = "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); time.sleep(0.3)"
    runs = [run_of(tmp_path / str(number), code) for number in range(4)]
    with ThreadPoolExecutor(cluster.at_once) as threads:
        list(threads.map(cluster.execute, runs))
    seen = [(tmp_path / f"{number}/output.log").read_text().strip() for number in range(4)]
    assert sorted(seen[:2]) == ["0,2", "5,7"]
    assert set(seen) == {"0,2", "5,7"}


def test_settings_that_cannot_be_are_refused(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(ValueError, match="cluster.gpus_per_job=2, but this machine has 1 GPUs"):
        LocalCluster(gpus_per_job=2)
    with pytest.raises(ValueError, match="cluster.jobs=0"):
        LocalCluster(jobs=0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []


SWEEP = """
import sys
from pathlib import Path
from diptych.sweeping.cluster import Run
from diptych.sweeping.local_cluster import LocalCluster
child = "import os, time; print(os.getpid(), flush=True); time.sleep(3600)"
LocalCluster(jobs=2).execute(Run(Path(sys.argv[1]), (sys.executable, "-c", child)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
def test_a_killed_sweep_leaves_no_run_behind(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", SWEEP, str(tmp_path)])
    log = tmp_path / "output.log"
    patience.wait_until(lambda: process.poll() is not None or (log.exists() and log.read_text().endswith("\n")))
    assert process.poll() is None
    child = int(log.read_text())
    process.send_signal(signal.SIGKILL)
    process.wait()
    patience.wait_until(lambda: not running(child))


def running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"  # not a zombie

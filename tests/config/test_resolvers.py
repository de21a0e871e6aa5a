"""The folders of runs."""

from datetime import datetime
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from diptych.config import resolvers


@pytest.fixture(autouse=True)
def outside_of_slurm(monkeypatch):
    for name in ("SLURM_NTASKS", "SLURM_JOB_ID", "SLURM_STEP_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DIPTYCH_RUNS", "runs")
    resolvers.register_resolvers()
    resolvers._started.cache_clear()
    yield
    resolvers._started.cache_clear()


def run_dir():
    own = {"name": "one", "resume": None, "join_run": None, "dir": "${run_dir:train}"}
    return Path(OmegaConf.create(own).dir)


class Clock:
    def __init__(self):
        self.second = 0

    def now(self):
        self.second += 1
        return datetime(2026, 1, 2, 3, 4, self.second)


def test_a_process_has_one_folder_and_a_fork_another(monkeypatch):
    monkeypatch.setattr(resolvers, "datetime", Clock())
    assert run_dir() == run_dir() == Path("runs/one/2026-01-02_03-04-01")
    monkeypatch.setattr(resolvers.os, "getpid", lambda: -1)
    assert run_dir() == Path("runs/one/2026-01-02_03-04-02")


def test_the_tasks_of_a_job_share_a_folder(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "8")
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_STEP_ID", "2")
    assert run_dir() == Path("runs/one/job_4711_2")


def test_a_number_of_tasks_without_a_job_is_no_job(monkeypatch):
    monkeypatch.setattr(resolvers, "datetime", Clock())
    monkeypatch.setenv("SLURM_NTASKS", "8")  # sbatch and srun read it as an option too
    assert run_dir() == Path("runs/one/2026-01-02_03-04-01")

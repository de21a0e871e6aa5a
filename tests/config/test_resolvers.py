"""The folders of runs."""

import os
from datetime import datetime
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from diptych.config import resolvers


@pytest.fixture(autouse=True)
def outside_of_launches(monkeypatch, tmp_path):
    for name in ("SLURM_NTASKS", "SLURM_JOB_ID", "SLURM_STEP_ID", "TORCHELASTIC_RUN_ID", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DIPTYCH_RUNS", "runs")
    resolvers.register_resolvers()
    monkeypatch.chdir(tmp_path)
    resolvers._new_folder.cache_clear()
    yield
    resolvers._new_folder.cache_clear()


def run_dir(entry="train", **settings):
    own = {"name": "one", "resume": None, "join_run": None, "ckpt": None, "dir": f"${{run_dir:{entry}}}"}
    return Path(OmegaConf.create(own | settings).dir)


class Clock:
    """A second later each time; or, held, always the same."""

    def __init__(self, held=False):
        self.second, self.held = 0, held

    def now(self):
        self.second = 1 if self.held else self.second + 1
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


@pytest.mark.hostile("limits")
@pytest.mark.parametrize("entry", ["train", "evaluate"])
def test_commands_that_begin_in_one_second_have_a_folder_each(entry, monkeypatch):
    monkeypatch.setattr(resolvers, "datetime", Clock(held=True))
    folders = []
    for process in (1, 2, 3):
        monkeypatch.setattr(resolvers.os, "getpid", lambda process=process: process)
        folders.append(run_dir(entry))
    place = Path("runs/one" if entry == "train" else "runs/predictions/eval")
    assert folders == [place / f"2026-01-02_03-04-01{suffix}" for suffix in ("", "-2", "-3")]
    assert all(folder.is_dir() for folder in folders)


def test_so_have_sweeps(monkeypatch):
    monkeypatch.setattr(resolvers, "datetime", Clock(held=True))
    monkeypatch.setattr(resolvers.os, "getpid", lambda: 1)
    first = OmegaConf.create({"dir": "${sweep_dir:}"}).dir
    monkeypatch.setattr(resolvers.os, "getpid", lambda: 2)
    assert OmegaConf.create({"dir": "${sweep_dir:}"}).dir == f"{first}-2"


def test_the_processes_of_torchrun_share_a_folder(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    first = run_dir()
    assert first.name.startswith("torchrun_") and first.name.endswith(f"_{os.getppid()}")
    monkeypatch.setattr(resolvers.os, "getpid", lambda: -1)
    assert run_dir() == first
    monkeypatch.setenv("GROUP_WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "night_7")
    monkeypatch.setattr(resolvers.os, "getpid", lambda: -2)
    assert run_dir().name == "torchrun_night_7"


def test_without_proc_they_share_one_too(monkeypatch):
    def absent(path):
        raise FileNotFoundError(path)

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("MASTER_PORT", "29501")
    monkeypatch.setattr(Path, "read_text", absent)
    assert run_dir().name == f"torchrun_29501_{os.getppid()}"


@pytest.mark.hostile("limits")
@pytest.mark.parametrize("there", ["runs", "runs/one"])
def test_a_file_where_runs_would_lie_is_named(there):
    Path(there).parent.mkdir(exist_ok=True)
    Path(there).write_text("mine")
    with pytest.raises(OmegaConfBaseException, match=r"runs/one cannot hold the folder of a run .*DIPTYCH_RUNS"):
        run_dir()
    assert Path(there).read_text() == "mine"


@pytest.mark.hostile("limits")
def test_a_name_that_is_too_long_for_a_folder_is_said():
    with pytest.raises(OmegaConfBaseException, match="File name too long"):
        run_dir(name="x" * 300)


@pytest.mark.parametrize("name", [2024, 1e5, True, "a (1)"])
def test_a_name_is_a_text(name):
    assert run_dir(name=name).parent == Path("runs") / str(name)


@pytest.mark.parametrize("entry", ["train", "evaluate"])
def test_a_run_is_resumed_by_its_folder_or_its_last_checkpoint(entry, tmp_path):
    run = tmp_path / "runs/one/first"
    (run / "checkpoints").mkdir(parents=True)
    (run.parent / "latest").symlink_to("first")
    for given in (run, run.parent / "latest", run / "checkpoints/last.ckpt", "runs/one/latest/checkpoints/last.ckpt"):
        assert run_dir(entry, resume=str(given)) == run


@pytest.mark.hostile("hostile run folders")
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("runs/none", "resume=runs/none: there is no such folder"),
        ("file", "resume=file: is a file, not the folder of a run"),
        ("runs/one/checkpoints/best.ckpt", "resumed from its last checkpoint, say resume=.*init_from=.*best.ckpt"),
    ],
)
def test_what_is_no_run_is_said_and_nothing_made(given, expected, tmp_path):
    Path("file").touch()
    with pytest.raises(OmegaConfBaseException, match=expected):
        run_dir(resume=given)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

"""Sweeps through Hydra itself, with runs that end at once."""

from __future__ import annotations

import json
import sys

import pytest
from omegaconf import OmegaConf

from diptych.commands.training import train
from diptych.config import command_line
from diptych.storage.run_status import read_status
from diptych.sweeping.resuming import of_resumed_sweep
from launched_runs import InstantCluster

pytestmark = pytest.mark.processes

FAKE = "cluster._target_=launched_runs.InstantCluster"
WORDS = ["-m", "experiment=cir_rooms", "seed=1,2,3", FAKE]


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """`sweep(words)` runs `train.py words`, in `tmp_path`; returns the folder, and what was executed in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIPTYCH_TRACEBACK", "1")  # errors come out of the entry point
    InstantCluster.executed = []

    def run(*words, folder=tmp_path / "sweep"):
        here = [] if any(word.startswith("sweep.resume=") for word in words) else [f"hydra.sweep.dir={folder}"]
        monkeypatch.setattr(sys, "argv", ["train.py", *words, *here])
        command_line.entry_point("train", train, rewrite=of_resumed_sweep)
        return folder

    return run


def states(folder):
    return [read_status(folder / str(number)).state for number in range(3)]


def test_every_run_gets_its_own_composed_config(sweep):
    folder = sweep(*WORDS)
    assert InstantCluster.executed == ["0", "1", "2"]
    for number in range(3):
        config = OmegaConf.load(folder / str(number) / "config.yaml")
        assert config.seed == number + 1
        assert config.name == "cir_rooms"
        assert config.trainer.log_every_n_steps == 7  # what the cluster needs
        assert "hydra" not in config
        status = read_status(folder / str(number))
        assert status.overrides == ("experiment=cir_rooms", f"seed={number + 1}")  # not where it ran
    assert (folder / "sweep.csv").is_file()


def test_a_failing_run_stops_no_other_and_the_sweep_says_how_to_go_on(sweep, tmp_path):
    with pytest.raises(ValueError, match="2 runs of .* are not done") as caught:
        sweep(*WORDS, "+cluster.failing=[1]", "+cluster.dying=[2]")
    folder = tmp_path / "sweep"
    assert states(folder) == ["failed", "failed", "done"]
    assert "0: failed: no data" in str(caught.value)
    assert "1: failed: killed by SIGKILL" in str(caught.value)
    assert f"python train.py -m sweep.resume={folder}" in str(caught.value)
    assert (folder / "sweep.csv").is_file()


def test_going_on_runs_only_what_is_not_done(sweep, tmp_path):
    with pytest.raises(ValueError, match="1 runs"):
        sweep(*WORDS, "+cluster.failing=[2]")
    before = {number: (tmp_path / f"sweep/{number}/config.yaml").read_bytes() for number in range(3)}
    InstantCluster.executed = []
    going_on = ["-m", f"sweep.resume={tmp_path / 'sweep'}", "cluster.failing=[]"]
    with pytest.raises(ValueError, match=r"(?s)cluster\._target_=.* may build something.*trust_run=true"):
        sweep(*going_on)  # the cluster is no class of ours
    sweep(*going_on, "trust_run=true")
    assert InstantCluster.executed == ["1"]
    assert states(tmp_path / "sweep") == ["done"] * 3
    assert before == {number: (tmp_path / f"sweep/{number}/config.yaml").read_bytes() for number in range(3)}


def test_the_same_command_in_the_same_folder_goes_on_too(sweep):
    sweep(*WORDS)
    InstantCluster.executed = []
    sweep(*WORDS)
    assert InstantCluster.executed == []


def test_another_sweep_does_not_go_into_the_folder(sweep, tmp_path):
    sweep(*WORDS)
    words = [word.replace("1,2,3", "4,5") for word in WORDS]
    with pytest.raises(ValueError, match=r"sweep/0 holds a run of experiment=cir_rooms seed=1, not of .*seed=4"):
        sweep(*words)
    assert read_status(tmp_path / "sweep/0").state == "done"


def test_a_mistake_in_one_run_is_found_before_any_starts(sweep):
    with pytest.raises(ValueError, match=r"unknown key 'system.optimizer.beta'"):
        sweep(*WORDS, "+system.optimizer.beta=1")
    assert InstantCluster.executed == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-m", "sweep.resume=nowhere"], "nowhere: there is no sweep to resume here"),
        (["-m", "sweep.resume=sweep", "seed=4"], "with seed=4 would be another sweep; only cluster=, "),
    ],
)
def test_what_cannot_be_gone_on_with(sweep, words, expected):
    sweep(*WORDS)
    with pytest.raises(ValueError, match=expected):
        sweep(*words)


def test_going_on_elsewhere_replaces_the_words_about_the_cluster(tmp_path):
    from diptych.sweeping.resuming import of_resumed_sweep

    started = ["-m", "experiment=a", "cluster=slurm", "cluster.nodes=2", "seed=1,2", "hydra.sweep.dir=old"]
    (tmp_path / "command.json").write_text(json.dumps({"words": started}))
    words = of_resumed_sweep(["-m", f"sweep.resume={tmp_path}", "cluster=local"])
    assert words == [
        "-m",
        "experiment=a",
        "seed=1,2",
        "cluster=local",
        f"hydra.sweep.dir={tmp_path}",
        "trust_run=false",
    ]
    words = of_resumed_sweep([f"sweep.resume={tmp_path}", "cluster.nodes=1"])
    assert words == [
        *("-m", "experiment=a", "cluster=slurm", "seed=1,2", "cluster.nodes=1"),
        f"hydra.sweep.dir={tmp_path}",
        "trust_run=false",
    ]
    assert of_resumed_sweep(["experiment=a"]) == ["experiment=a"]

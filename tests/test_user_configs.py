"""A user's own configs: a folder outside the repository, named by `--config-dir`, beside the ones that are shipped."""

import sys

import pytest
from hydra.core.global_hydra import GlobalHydra

from diptych.config import command_line

EXPERIMENT = """
# @package _global_
defaults:
  - override /system/loss: mine
  - override /trainer: cpu
name: mine
"""
LOSS = "{_target_: diptych.losses.info_nce.InfoNCE, temperature: 0.125}"


@pytest.fixture
def train(tmp_path, monkeypatch):
    """A function that composes `train.py WORDS` with a user's folder of configs, and returns the config."""
    for name, text in (("experiment/mine.yaml", EXPERIMENT), ("system/loss/mine.yaml", LOSS)):
        path = tmp_path / "own" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)

    def run(*words):
        quiet = ("hydra.output_subdir=null", "hydra/job_logging=none", "hydra/hydra_logging=none")
        monkeypatch.setattr(sys, "argv", ["train.py", *words, *quiet])
        composed = []
        if status := command_line.entry_point("train", composed.append):
            raise SystemExit(status)
        return composed[0]

    yield run
    GlobalHydra.instance().clear()


@pytest.mark.parametrize("flag", [("--config-dir", "own"), ("--config-dir=own",), ("-cd", "own")])
def test_own_configs_stand_beside_the_shipped_ones(train, flag):
    config = train(*flag, "experiment=mine")
    assert config.name == "mine"
    assert config.system.loss.temperature == 0.125
    assert config.system.model._target_.startswith("diptych.models.")


@pytest.mark.slow
def test_own_experiments_are_among_those_that_are_suggested(train, capsys):
    with pytest.raises(SystemExit):
        train("--config-dir", "own")
    assert ", mine (" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train()
    assert ", mine (" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_misspelt_key_of_an_own_experiment_gets_a_suggestion(train, capsys):
    with pytest.raises(SystemExit):
        train("--config-dir", "own", "experiment=mine", "system.loss.temprature=1")
    assert "unknown key 'system.loss.temprature'. Did you mean 'system.loss.temperature'" in capsys.readouterr().err

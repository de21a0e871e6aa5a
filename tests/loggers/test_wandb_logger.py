from __future__ import annotations

import logging

import pytest
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from diptych.loggers.wandb_logger import ForgivingWandbLogger


class Run:
    """What a wandb run is to the logger; `log` fails from the second call on."""

    def __init__(self) -> None:
        self.logged: list[dict] = []

    def log(self, metrics: dict) -> None:
        if self.logged:
            raise ConnectionError("the tracker is gone")
        self.logged.append(metrics)


@pytest.fixture
def unreachable(monkeypatch):
    """wandb cannot even start; counts how often that is tried."""
    attempts = []

    def experiment(self: WandbLogger):
        attempts.append(1)
        raise OSError("no space left for wandb")

    monkeypatch.setattr(WandbLogger, "experiment", property(experiment))
    return attempts


def test_a_tracker_that_cannot_start_is_given_up_once(tmp_path, unreachable, caplog):
    logger = ForgivingWandbLogger(str(tmp_path))
    with caplog.at_level(logging.WARNING):
        logger.log_metrics({"loss": 1.0}, step=0)
        logger.log_metrics({"loss": 0.5}, step=1)
        logger.log_hyperparams({"lr": 1e-5})
        logger.log_table("examples", columns=["a"], data=[[1]])
        logger.experiment.log({"recall": 1.0})
        logger.finalize("success")
    assert len(unreachable) == 1
    warnings = [record.message for record in caplog.records if "wandb failed" in record.message]
    assert warnings == [
        "wandb failed (no space left for wandb); the run continues without it, its own files have everything"
    ]


def test_a_tracker_that_fails_later_is_given_up_then(tmp_path, monkeypatch, caplog):
    run = Run()
    monkeypatch.setattr(WandbLogger, "experiment", property(lambda self: run))
    logger = ForgivingWandbLogger(str(tmp_path))
    for step in range(3):
        logger.log_metrics({"loss": 1.0}, step=step)
    assert [metrics["loss"] for metrics in run.logged] == [1.0] and logger.failed
    assert caplog.text.count("the tracker is gone") == 1


def test_stopping_the_run_is_not_swallowed(tmp_path, monkeypatch):
    def interrupted(self: WandbLogger):
        raise KeyboardInterrupt

    monkeypatch.setattr(WandbLogger, "experiment", property(interrupted))
    with pytest.raises(KeyboardInterrupt):
        ForgivingWandbLogger(str(tmp_path)).log_metrics({"loss": 1.0}, step=0)


def test_the_run_keeps_its_id(tmp_path):
    folder = tmp_path / "run"
    first, resumed = ForgivingWandbLogger(str(folder)), ForgivingWandbLogger(str(folder))
    identifier = (folder / "wandb_id").read_text()
    assert len(identifier) == 8
    assert first._wandb_init["id"] == resumed._wandb_init["id"] == identifier
    assert first._wandb_init["resume"] == "allow" and first._wandb_init["dir"] == str(folder)
    assert ForgivingWandbLogger(str(tmp_path / "other"))._wandb_init["id"] != identifier


def test_only_the_rank_that_sends_makes_an_id(tmp_path, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    ForgivingWandbLogger(str(tmp_path))
    assert not (tmp_path / "wandb_id").exists()


def test_offline_is_the_default(tmp_path):
    assert ForgivingWandbLogger(str(tmp_path))._offline
    assert not ForgivingWandbLogger(str(tmp_path), offline=False)._offline


@pytest.mark.parametrize(("mode", "offline"), [(None, True), ("disabled", False), ("online", False)])
def test_the_mode_of_the_environment_counts_before_the_config(mode, offline, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    if mode:
        monkeypatch.setenv("WANDB_MODE", mode)
    logger = ForgivingWandbLogger(str(tmp_path))
    assert logger._offline is offline

"""TensorBoard and MLflow as wandb is: offline, one run however often it is resumed, given up where they fail."""

from __future__ import annotations

import json
import logging
import sqlite3

import pytest
from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger

from diptych.commands.tracking import send_results
from diptych.loggers.mlflow_logger import ForgivingMLflowLogger
from diptych.loggers.tensorboard_logger import ForgivingTensorBoardLogger

CLASSES = [
    (ForgivingTensorBoardLogger, TensorBoardLogger, "TensorBoard"),
    (ForgivingMLflowLogger, MLFlowLogger, "MLflow"),
]


@pytest.fixture(autouse=True)
def no_server(monkeypatch):
    pytest.importorskip("tensorboard")
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def log_and_end(logger, **steps):
    for step, value in steps.items():
        logger.log_metrics({"train/loss": value}, step=int(step[1:]))
    logger.save()
    logger.finalize("success")
    assert not logger.failed


@pytest.mark.parametrize(("kind", "parent", "name"), CLASSES)
def test_a_tracker_that_fails_is_given_up_once(kind, parent, name, tmp_path, monkeypatch, caplog):
    def experiment(self):
        raise OSError("no space left")

    monkeypatch.setattr(parent, "experiment", property(experiment))
    logger = kind(str(tmp_path))
    with caplog.at_level(logging.WARNING):
        logger.log_hyperparams({"lr": 1})
        logger.log_metrics({"loss": 1.0}, step=0)
        logger.save()
        logger.finalize("success")
    assert [record.message for record in caplog.records if "failed" in record.message] == [
        f"{name} failed (no space left); the run continues without it, its own files have everything"
    ]


def test_tensorboard_has_one_folder_and_forgets_what_is_done_again(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log_and_end(ForgivingTensorBoardLogger(str(tmp_path)), _1=3.0, _5=2.0, _9=1.0)
    resumed = ForgivingTensorBoardLogger(str(tmp_path))
    resumed.resume_from(5)
    log_and_end(resumed, _5=2.5)
    assert [path.name for path in tmp_path.iterdir()] == ["tensorboard"]
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(1, 3.0), (5, 2.5)]


def test_mlflow_goes_on_in_its_run_offline(tmp_path):
    log_and_end(ForgivingMLflowLogger(str(tmp_path), name="mine"), _1=3.0)
    identifier = (tmp_path / "mlflow_run_id").read_text()
    log_and_end(ForgivingMLflowLogger(str(tmp_path), name="mine"), _2=2.0)
    with sqlite3.connect(tmp_path / "mlflow.db") as store:
        assert store.execute("select run_uuid, status, name from runs").fetchall() == [(identifier, "FINISHED", "mine")]
        assert store.execute("select step, value from metrics order by step").fetchall() == [(1, 3.0), (2, 2.0)]


def test_mlflow_names_a_store_that_there_cannot_be(tmp_path):
    with pytest.raises(ValueError, match="uri=nonsense://x: MLflow cannot log there"):
        ForgivingMLflowLogger(str(tmp_path), uri="nonsense://x")


class Notes:
    def __init__(self):
        self.said = []

    def log_hyperparams(self, params):
        self.said.append(params)

    def log_metrics(self, metrics, step):
        self.said.append((metrics, step))

    def save(self):
        self.said.append("save")

    def finalize(self, status):
        self.said.append(status)


def test_an_evaluation_names_the_run_of_its_checkpoint(tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints/best.ckpt").write_bytes(b"")
    (run / "wandb_id").write_text("abcd\n")
    content = {"experiment": "e", "checkpoint": str(run / "checkpoints/best.ckpt"), "step": 7, "seed": None}
    content |= {"data": ["rooms", "market"], "split": "val", "protocol": {"line": "rooms_val v1"}}
    content |= {"metrics": {"recall_at_1": 0.5, "average": None}}
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    notes = Notes()
    send_results([notes], tmp_path)
    about = {"experiment": "e", "checkpoint": content["checkpoint"], "step": 7, "data": "rooms, market", "split": "val"}
    about |= {"protocol": "rooms_val v1", "run": str(run), "run_wandb_id": "abcd"}
    assert notes.said == [about, ({"val/recall_at_1": 0.5}, 7), "save", "success"]

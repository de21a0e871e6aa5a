"""Speed is counted over the steps since the last log, without validations."""

from __future__ import annotations

import io
import logging
from types import SimpleNamespace

import pytest
import torch

from diptych.callbacks import training_monitor
from diptych.callbacks.training_monitor import TrainingMonitor, peak_memory_bytes


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(training_monitor.time, "perf_counter", lambda: now.seconds)
    return now


@pytest.fixture
def module():
    weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    weight.grad = torch.tensor([3.0, 4.0])
    logged = {}
    return SimpleNamespace(
        logged=logged,
        parameters=lambda: [weight, torch.nn.Parameter(torch.ones(1))],
        log=logged.__setitem__,
        log_dict=logged.update,
    )


def make_trainer(step):
    return SimpleNamespace(
        global_step=step,
        max_steps=10,
        progress_bar_callback=None,
        callback_metrics={},
        log_every_n_steps=2,
        optimizers=[SimpleNamespace(param_groups=[{"lr": 0.25}])],
        datamodule=SimpleNamespace(epoch_batches=8.0),
    )


def test_samples_per_second_leaves_validations_out(clock, module):
    monitor, batch = TrainingMonitor(), SimpleNamespace(query_ids=("a",) * 10, num_tokens=None)
    monitor.on_train_start(make_trainer(0), module)
    clock.seconds += 1
    monitor.on_train_batch_end(make_trainer(1), module, None, batch, 0)
    assert module.logged == {}
    monitor.on_validation_start(make_trainer(1), module)
    clock.seconds += 50
    monitor.on_validation_end(make_trainer(1), module)
    clock.seconds += 3
    monitor.on_train_batch_end(make_trainer(2), module, None, batch, 1)
    assert module.logged["train/samples_per_second"] == pytest.approx(20 / 4)
    assert module.logged["train/lr"] == 0.25 and module.logged["train/epoch"] == 2 / 8
    assert module.logged["train/memory_gib"] == pytest.approx(peak_memory_bytes() / 2**30, rel=0.2)


def test_the_gradient_norm_is_of_the_steps_that_are_logged(module):
    monitor = TrainingMonitor()
    monitor.on_before_optimizer_step(make_trainer(0), module, None)
    assert module.logged == {}
    monitor.on_before_optimizer_step(make_trainer(1), module, None)
    assert module.logged["train/gradient_norm"] == pytest.approx(5.0)


def test_the_log_tells_the_story_of_a_run(clock, module, caplog):
    monitor, batch = TrainingMonitor(), SimpleNamespace(query_ids=("a",) * 10, num_tokens=None)
    module.latest_loss = SimpleNamespace(look=lambda: 1.25)
    with caplog.at_level("INFO"):
        monitor.on_train_start(make_trainer(0), module)
        clock.seconds += 4
        monitor.on_train_batch_end(make_trainer(2), module, None, batch, 1)
        trainer = make_trainer(2)
        trainer.callback_metrics = {"val/recall_at_1": torch.tensor(0.5), "val/recall_at_1/colour": torch.tensor(1.0)}
        monitor.on_validation_start(trainer, module)
        monitor.on_validation_end(trainer, module)
    trained, validated = caplog.messages
    assert trained.startswith("step 2 of 10: loss 1.2500, lr 0.25, 2.5 examples/s, ")
    assert trained.endswith(" GiB, 0:00:16 left")
    assert validated == "step 2 of 10: validation: recall_at_1 0.5"


def test_beside_a_bar_the_lines_go_to_files_alone(module, tmp_path, monkeypatch):
    screen, file = io.StringIO(), tmp_path / "training.log"
    handlers = [logging.StreamHandler(screen), logging.FileHandler(file)]
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", handlers)
    monkeypatch.setattr(root, "level", logging.INFO)
    trainer = make_trainer(2)
    training_monitor.log.info("first")
    trainer.progress_bar_callback = SimpleNamespace(is_enabled=True)
    TrainingMonitor().on_train_start(trainer, module)
    training_monitor.log.info("second")
    logging.getLogger("diptych.other").info("third")
    handlers[1].close()
    assert screen.getvalue().split() == ["first", "third"]
    assert file.read_text().split() == ["first", "second", "third"]

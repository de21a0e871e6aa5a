"""SIGTERM waits for the step; a whole run that is stopped is in test_command_line."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace

import pytest
import torch

from diptych.callbacks.checkpointing import Checkpointing
from diptych.callbacks.stop_on_signal import StopOnSignal


@pytest.fixture
def trainer(monkeypatch):
    saved = []
    monkeypatch.setattr(Checkpointing, "save_last", lambda self, trainer: saved.append(trainer.global_step))
    return SimpleNamespace(callbacks=[Checkpointing("val/x")], global_step=5, should_stop=False, saved=saved)


def test_the_step_is_finished_saved_and_the_run_stopped(trainer):
    before = signal.getsignal(signal.SIGTERM)
    callback, module = StopOnSignal(), SimpleNamespace(device=torch.device("cpu"))
    callback.on_train_start(trainer, module)
    try:
        callback.on_train_batch_end(trainer, module)
        assert not callback.stopped and not trainer.should_stop
        os.kill(os.getpid(), signal.SIGTERM)
        assert trainer.saved == []  # not in the middle of a step
        callback.on_train_batch_end(trainer, module)
    finally:
        callback.teardown(trainer, module, "fit")
    assert callback.stopped and trainer.should_stop and trainer.saved == [5]
    assert signal.getsignal(signal.SIGTERM) == before

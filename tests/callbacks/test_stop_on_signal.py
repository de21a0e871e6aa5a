"""Signals wait for the step; whole runs that are stopped are in test_preemption."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace

import pytest
import torch

from diptych.callbacks.stop_on_signal import SIGNALS, StopOnSignal, StoppedBySignal

MODULE = SimpleNamespace(device=torch.device("cpu"))


@pytest.fixture
def trainer():
    """As much of a trainer as the callback sees, after five batches; validation has a loader of three batches."""
    return SimpleNamespace(
        global_step=5,
        accumulate_grad_batches=1,
        fit_loop=SimpleNamespace(total_batch_idx=4, epoch_loop=SimpleNamespace(_broadcast_sigterm_tensor=None)),
        should_stop=False,
        limit_val_batches=1.0,
        num_val_batches=[3],
        _signal_connector=SimpleNamespace(received_sigterm=False),
    )


@pytest.fixture
def handled():
    """The signals that reached the former handlers; the process's own are set again after the test."""
    handled, own = [], {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: handled.append(number))
    yield handled
    for number, handler in own.items():
        signal.signal(number, handler)


@pytest.fixture
def callback(trainer, handled):
    callback = StopOnSignal()
    callback.setup(trainer, MODULE, "fit")
    callback.on_train_start(trainer, MODULE)
    return callback


@pytest.mark.parametrize("number", SIGNALS)
def test_the_step_is_finished_and_the_signal_handed_over(trainer, callback, handled, number):
    callback.on_train_batch_end(trainer, MODULE)
    assert not callback.stopped and not trainer.should_stop
    os.kill(os.getpid(), number)
    assert not trainer.should_stop  # not in the middle of a step
    callback.on_train_batch_end(trainer, MODULE)
    assert callback.stopped and trainer.should_stop  # for which Checkpointing saves
    assert trainer.limit_val_batches == 0  # else Lightning validates first
    assert handled == []
    callback.hand_over()
    assert handled == [number]
    os.kill(os.getpid(), number)
    assert handled == [number] * 2


def test_an_accumulated_step_is_finished_first(trainer, callback):
    trainer.accumulate_grad_batches = 2
    os.kill(os.getpid(), signal.SIGTERM)
    callback.on_train_batch_end(trainer, MODULE)
    assert not callback.stopped
    trainer.fit_loop.total_batch_idx = 5
    callback.on_train_batch_end(trainer, MODULE)
    assert callback.stopped


def test_a_validation_is_left_after_a_batch(trainer, callback):
    callback.on_validation_start(trainer, MODULE)
    callback.on_validation_batch_end(trainer, MODULE, None, None, 0)
    os.kill(os.getpid(), signal.SIGUSR1)
    with pytest.raises(StoppedBySignal):
        callback.on_validation_batch_end(trainer, MODULE, None, None, 1)
    assert callback.stopped


def test_batches_that_some_rank_does_not_have_are_no_point_to_leave_at(trainer, callback, monkeypatch):
    """This rank has three batches, the other two: it would wait for ever for the other's answer."""
    module = "diptych.callbacks.stop_on_signal"
    monkeypatch.setattr(f"{module}.world_size", lambda: 2)
    monkeypatch.setattr(f"{module}.gather", lambda counts: torch.cat([counts, counts - 1]))
    callback.on_validation_start(trainer, MODULE)
    os.kill(os.getpid(), signal.SIGUSR1)
    callback.on_validation_batch_end(trainer, MODULE, None, None, 2)
    assert not callback.stopped
    callback.on_validation_end(trainer, MODULE)
    assert callback.stopped and trainer.should_stop


def test_sigterm_that_lightning_got_while_the_loaders_were_set_up_is_acted_on(trainer, handled):
    callback, trainer._signal_connector.received_sigterm = StopOnSignal(), True
    callback.setup(trainer, MODULE, "fit")
    callback.on_train_start(trainer, MODULE)
    assert not trainer._signal_connector.received_sigterm
    callback.on_train_batch_end(trainer, MODULE)
    assert callback.stopped
    callback.hand_over()
    assert handled == [signal.SIGTERM]


def test_default_handlers_are_given_back_but_not_called(trainer, handled):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    callback = StopOnSignal()
    callback.setup(trainer, MODULE, "fit")
    callback.on_train_start(trainer, MODULE)
    for number in SIGNALS:
        os.kill(os.getpid(), number)
    callback.on_train_end(trainer, MODULE)
    assert callback.stopped
    callback.hand_over()
    assert handled == [signal.SIGUSR2]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN


def test_the_evaluation_after_the_fit_has_the_former_handlers(trainer, callback, handled):
    callback.on_test_start(trainer, MODULE)
    os.kill(os.getpid(), signal.SIGTERM)
    assert handled == [signal.SIGTERM] and not callback.stopped

"""When `last` and `best` are saved."""

from __future__ import annotations

import logging
import re
from types import SimpleNamespace

import pytest

from diptych.callbacks.checkpointing import Checkpointing
from diptych.storage.whole import write_same, write_text


class Trainer(SimpleNamespace):
    """As much of a trainer as the callback sees; notes what is saved."""

    def save_checkpoint(self, path, weights_only, storage_options):
        self.failed = {}
        for name in (path, *storage_options):
            if self.full:
                self.failed[name] = OSError(f"{path}: no space left")
            else:
                write_text(name, str(self.global_step)) if name == path else write_same(name, path)
                self.saved.append((self.global_step, name.stem))

    def failures(self):
        """As the trainer's ThreadedCheckpointIO."""
        failed, self.failed = self.failed, {}
        return failed

    def log_step(self):
        self.logged.append((self.global_step, len(self.saved)))


@pytest.fixture
def trainer(tmp_path):
    trainer = Trainer(
        global_step=0,
        max_steps=100,
        accumulate_grad_batches=1,
        enable_validation=True,
        val_check_interval=50,
        val_check_batch=50,
        fit_loop=SimpleNamespace(total_batch_idx=-1),
        saved=[],
        logged=[],
        full=False,
        failed={},
        should_stop=False,
        sanity_checking=False,
        state=SimpleNamespace(fn="fit"),
        callback_metrics={},
        default_root_dir=str(tmp_path),
        strategy=SimpleNamespace(barrier=lambda name: None, root_device="cpu"),
    )
    trainer.strategy.checkpoint_io = trainer
    trainer._logger_connector = SimpleNamespace(update_train_step_metrics=trainer.log_step)
    return trainer


def train_to(callback, trainer, batch):
    """Says that a batch, counted from 1, is done."""
    trainer.fit_loop.total_batch_idx = batch - 1
    trainer.global_step = batch // trainer.accumulate_grad_batches
    callback.on_train_batch_end(trainer, None)


def validate(callback, trainer, step, **metrics):
    trainer.global_step, trainer.callback_metrics = step, {f"val/{name}": value for name, value in metrics.items()}
    callback.on_validation_end(trainer, None)


@pytest.mark.parametrize(("mode", "values"), [("max", (0.1, 0.3, 0.2)), ("min", (9, 2, 5))])
def test_best_is_saved_when_the_metric_improves_and_last_always(trainer, mode, values):
    callback = Checkpointing("val/metric", mode)
    for step, value in enumerate(values):
        validate(callback, trainer, step, metric=value)
    assert [step for step, name in trainer.saved if name == "best"] == [0, 1]
    assert [step for step, name in trainer.saved if name == "last"] == [0, 1, 2]
    assert callback.state_dict() == {"best_value": values[1]}


def test_what_is_best_and_last_is_written_once_and_each_has_its_own_content(trainer, tmp_path):
    callback = Checkpointing("val/metric", "max")
    best, last = (tmp_path / "checkpoints" / f"{name}.ckpt" for name in ("best", "last"))
    validate(callback, trainer, 3, metric=0.1)
    assert best.samefile(last) and last.read_text() == "3"
    validate(callback, trainer, 6, metric=0.0)
    assert (best.read_text(), last.read_text()) == ("3", "6")
    validate(callback, trainer, 9, metric=0.5)
    assert best.samefile(last) and best.read_text() == "9"


def test_without_a_mode_the_metric_is_asked(trainer):
    """Once it is logged: before, nothing knows it."""
    module = SimpleNamespace(mode_of={"val/mean_rank": "min"}.__getitem__)
    callback = Checkpointing("val/mean_rank")
    for step, value in enumerate((9.0, 12.0, 5.0)):
        trainer.global_step, trainer.callback_metrics = step, {"val/mean_rank": value}
        callback.on_validation_end(trainer, module)
    assert callback.mode == "min" and callback.best_value == 5.0
    assert [step for step, name in trainer.saved if name == "best"] == [0, 2]


def test_the_best_value_survives_a_restart(trainer):
    callback = Checkpointing("val/metric", "max")
    callback.load_state_dict({"best_value": 0.5})
    validate(callback, trainer, 3, metric=0.4)
    assert trainer.saved == [(3, "last")]


def test_last_is_saved_every_so_many_optimizer_steps_and_once_at_the_end(trainer):
    callback = Checkpointing("val/metric", "max", every_n_steps=3)
    callback.on_train_start(trainer, None)
    for batch in (1, 2, 3, 4):
        train_to(callback, trainer, batch)
    callback.on_train_end(trainer, None)
    callback.on_train_end(trainer, None)
    assert trainer.saved == [(3, "last"), (4, "last")]


@pytest.mark.parametrize("every_n_steps", [1, 100])
def test_last_is_saved_before_the_step_that_a_validation_follows_and_not_after_it(trainer, every_n_steps):
    """Lightning would leave that validation out of a resumed run."""
    callback = Checkpointing("val/metric", "max", every_n_steps=every_n_steps)
    trainer.val_check_batch = 5
    callback.on_train_start(trainer, None)
    for batch in (1, 2, 3, 4, 5):
        train_to(callback, trainer, batch)
    assert trainer.saved[-1] == (4, "last") and len(trainer.saved) == (4 if every_n_steps == 1 else 1)
    validate(callback, trainer, 5, metric=0.1)
    assert trainer.saved[-2:] == [(5, "best"), (5, "last")]


def test_nothing_is_saved_within_an_accumulated_step(trainer):
    callback = Checkpointing("val/metric", "max", every_n_steps=1)
    trainer.accumulate_grad_batches, trainer.val_check_batch = 4, 6
    callback.on_train_start(trainer, None)
    for batch in range(1, 7):
        train_to(callback, trainer, batch)
    validate(callback, trainer, 1, metric=0.1)  # after six batches: in the second step
    assert trainer.saved == [(1, "last"), (1, "best")]
    for batch in (7, 8):
        train_to(callback, trainer, batch)
    assert trainer.saved[2:] == [(2, "last")]


def test_a_training_that_another_callback_stops_is_saved_at_that_step_unless_a_validation_is_due(trainer):
    callback = Checkpointing("val/metric", "max")
    trainer.val_check_batch = 5
    callback.on_train_start(trainer, None)
    train_to(callback, trainer, 2)
    trainer.should_stop = True
    train_to(callback, trainer, 3)
    assert trainer.saved == [(3, "last")]
    train_to(callback, trainer, 5)
    assert trainer.saved == [(3, "last")]


def test_what_the_step_logged_is_written_before_the_checkpoint(trainer):
    """Killed between the two, the resumed run would lack it."""
    callback = Checkpointing("val/metric", "max", every_n_steps=2)
    callback.on_train_start(trainer, None)
    for batch in (1, 2, 3, 4):
        train_to(callback, trainer, batch)
    assert trainer.logged == [(2, 0), (4, 1)]  # with so many checkpoints before it


def test_it_is_the_last_of_the_callbacks(trainer):
    """The others log values of the step, too."""
    callback, others = Checkpointing("val/metric"), [object(), object()]
    trainer.callbacks = [others[0], callback, others[1]]
    callback.setup(trainer, None, "fit")
    assert trainer.callbacks == [*others, callback]


def test_the_end_is_saved_once_and_by_the_end(trainer):
    """What Lightning counts is complete only then: the evaluation of a resumed run logs it."""
    callback = Checkpointing("val/metric", "max")
    trainer.max_steps = trainer.val_check_batch = 2
    callback.on_train_start(trainer, None)
    train_to(callback, trainer, 1)
    train_to(callback, trainer, 2)
    validate(callback, trainer, 2, metric=0.1)
    assert trainer.saved == [(1, "last"), (2, "best")]
    callback.on_train_end(trainer, None)
    assert trainer.saved[2:] == [(2, "last")]


def test_validating_by_the_clock_is_refused(trainer):
    trainer.val_check_interval, trainer.val_check_batch = "00:01:00:00", None
    with pytest.raises(ValueError, match="trainer.val_check_interval='00:01:00:00'.*set a number of batches"):
        Checkpointing("val/metric", "max").on_train_start(trainer, None)


def test_nothing_is_saved_while_testing_or_checking(trainer):
    callback = Checkpointing("val/metric", "max")
    trainer.sanity_checking = True
    validate(callback, trainer, 1, metric=1.0)
    trainer.sanity_checking, trainer.state = False, SimpleNamespace(fn="validate")
    validate(callback, trainer, 1, metric=1.0)
    assert trainer.saved == []


def test_a_misspelt_monitor_lists_what_is_logged(trainer):
    with pytest.raises(ValueError, match=r"'val/recal' is not logged; there are: val/map_at_5, val/recall_at_1"):
        validate(Checkpointing("val/recal", "max"), trainer, 1, recall_at_1=0.1, map_at_5=0.2)
    with pytest.raises(ValueError, match="mode='maximum'"):
        Checkpointing("val/metric", "maximum")


@pytest.fixture
def full_once(trainer):
    """A callback that has validated at step 1, when the disk was full."""
    callback = Checkpointing("val/metric", "max")
    trainer.full = True
    validate(callback, trainer, 1, metric=0.1)
    trainer.full = False
    return callback


@pytest.mark.hostile("limits")
def test_a_full_disk_that_is_met_before_the_thread_is_an_error_in_the_log_and_not_the_end(trainer, caplog):
    def full(path, weights_only, storage_options):
        raise OSError(f"{path}: no space left")

    trainer.save_checkpoint = full  # as of sharded checkpoints
    callback = Checkpointing("val/metric", "max")
    with caplog.at_level(logging.ERROR):
        validate(callback, trainer, 1, metric=0.1)
    assert caplog.text.count("no space left") == 1  # one file with both names
    assert re.search(r"The disk is full, or writing to it limited: [\d.]+ \wB are free", caplog.text)
    with pytest.raises(OSError, match="no space left"):
        callback.check_saved(trainer)


def test_what_went_wrong_in_writing_does_not_hide_what_ended_the_training(trainer, caplog):
    def failures():
        raise TypeError("cannot pickle it")

    callback = Checkpointing("val/metric", "max")
    trainer.failures = failures
    with caplog.at_level(logging.ERROR):
        callback.on_exception(trainer, None, ValueError("the loss is nan"))
    assert "could not be written: cannot pickle it" in caplog.text


@pytest.mark.hostile("limits")
def test_a_training_that_ends_without_its_checkpoints_fails(trainer, full_once):
    trainer.full = True
    full_once.on_train_end(trainer, None)
    with pytest.raises(OSError, match="ended at step 1, but not all.*/best.ckpt: no space left.*/last.ckpt: no space"):
        full_once.check_saved(trainer)


@pytest.mark.hostile("limits")
def test_what_could_not_be_saved_is_tried_again_at_the_end(trainer, full_once):
    full_once.on_train_end(trainer, None)
    full_once.check_saved(trainer)
    assert trainer.saved == [(1, "best"), (1, "last")]


@pytest.mark.hostile("limits")
def test_the_best_weights_that_are_gone_are_missed_also_by_a_resumed_run_until_there_are_better_ones(
    trainer, full_once
):
    train_to(full_once, trainer, 2)
    full_once.on_train_end(trainer, None)
    assert trainer.saved == [(2, "last")]
    resumed = Checkpointing("val/metric", "max")
    resumed.load_state_dict(full_once.state_dict())
    with pytest.raises(OSError, match="best.ckpt"):
        resumed.check_saved(trainer)
    validate(resumed, trainer, 3, metric=0.2)
    resumed.check_saved(trainer)


@pytest.mark.hostile("limits")
def test_a_process_that_cannot_even_begin_meets_the_others_where_they_wait(trainer):
    met = []

    def save(*words, **settings):
        raise OSError("config.yaml: permission denied")

    trainer.save_checkpoint, trainer.strategy.barrier = save, met.append
    callback = Checkpointing("val/metric", "max")
    validate(callback, trainer, 1, metric=0.1)
    assert len(met) == 1
    with pytest.raises(OSError, match="permission denied"):
        callback.check_saved(trainer)


def test_an_exception_waits_for_what_is_being_written_and_the_reason_is_still_known_at_the_end(trainer):
    """As a signal leaves a validation: nothing is saved after it."""
    trainer.full = True
    callback = Checkpointing("val/metric", "max")
    validate(callback, trainer, 1, metric=0.1)
    callback.on_exception(trainer, None, RuntimeError())
    assert trainer.failed == {}  # it has been asked
    with pytest.raises(OSError, match="no space left"):
        callback.check_saved(trainer)

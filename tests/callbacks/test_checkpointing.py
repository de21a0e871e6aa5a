"""When `last` and `best` are saved."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from diptych.callbacks.checkpointing import Checkpointing


class Trainer(SimpleNamespace):
    """As much of a trainer as the callback sees; notes what is saved."""

    def save_checkpoint(self, path, weights_only):
        if self.full:
            raise OSError(f"{path}: no space left")
        self.saved.append((self.global_step, path.stem))


@pytest.fixture
def trainer(tmp_path):
    return Trainer(
        global_step=0,
        saved=[],
        full=False,
        sanity_checking=False,
        state=SimpleNamespace(fn="fit"),
        callback_metrics={},
        default_root_dir=str(tmp_path),
    )


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


def test_the_best_value_survives_a_restart(trainer):
    callback = Checkpointing("val/metric")
    callback.load_state_dict({"best_value": 0.5})
    validate(callback, trainer, 3, metric=0.4)
    assert trainer.saved == [(3, "last")]


def test_last_is_saved_every_so_many_optimizer_steps_and_once_at_the_end(trainer):
    callback = Checkpointing("val/metric", every_n_steps=3)
    callback.on_train_start(trainer, None)
    for step in (1, 1, 2, 3, 3, 4):  # two batches of one step: gradient accumulation
        trainer.global_step = step
        callback.on_train_batch_end(trainer, None)
    callback.on_train_end(trainer, None)
    callback.on_train_end(trainer, None)
    assert trainer.saved == [(3, "last"), (4, "last")]


def test_nothing_is_saved_while_testing_or_checking(trainer):
    callback = Checkpointing("val/metric")
    trainer.sanity_checking = True
    validate(callback, trainer, 1, metric=1.0)
    trainer.sanity_checking, trainer.state = False, SimpleNamespace(fn="validate")
    validate(callback, trainer, 1, metric=1.0)
    assert trainer.saved == []


def test_a_misspelt_monitor_lists_what_is_logged(trainer):
    with pytest.raises(ValueError, match=r"'val/recal' is not logged; there are: val/map_at_5, val/recall_at_1"):
        validate(Checkpointing("val/recal"), trainer, 1, recall_at_1=0.1, map_at_5=0.2)
    with pytest.raises(ValueError, match="mode='maximum'"):
        Checkpointing("val/metric", "maximum")


def test_a_full_disk_is_an_error_in_the_log_and_not_the_end(trainer, caplog):
    trainer.full = True
    with caplog.at_level(logging.ERROR):
        validate(Checkpointing("val/metric"), trainer, 1, metric=0.1)
    assert caplog.text.count("no space left") == 2

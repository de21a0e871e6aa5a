"""The interval of validations is at most a pass."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from diptych.callbacks.validate_every_pass import ValidateEveryPass


def interval(given, epoch_batches, kind="retrieval"):
    data = SimpleNamespace(kind=kind, epoch_batches=epoch_batches)
    trainer = SimpleNamespace(datamodule=data, val_check_interval=given)
    ValidateEveryPass().on_fit_start(trainer, None)
    return trainer.val_check_interval


def test_the_shorter_of_interval_and_pass():
    assert interval(500, 110.25) == 110  # CIRR in batches of 256
    assert interval(500, 2000.0) == 500
    assert interval(500, 0.4) == 1


def test_captions_have_no_pass_to_speak_of_yet():
    with pytest.raises(ValueError, match=r"set trainer\.val_check_interval"):
        interval(500, 10.0, kind="captions")

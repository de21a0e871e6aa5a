"""`diptych app`: mistakes are answered in a line, before any model is loaded."""

from __future__ import annotations

import pytest

from diptych.commands.main import main


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("a search needs both, ckpt=CHECKPOINT and images=FOLDER", ["ckpt=a.ckpt"]),
        ("a search needs both, ckpt=CHECKPOINT and images=FOLDER", ["images=photos", "captioner=c.ckpt"]),
        ("say what to try", []),
        ("compare= is shown beside ckpt=, which is missing", ["compare=b.ckpt", "captioner=c.ckpt"]),
        ("port=web: expected a whole number", ["captioner=c.ckpt", "port=web"]),
    ],
)
def test_mistakes_are_answered_before_anything_is_loaded(message, words, capsys):
    assert main(["app", *words]) == 2
    assert message in capsys.readouterr().err

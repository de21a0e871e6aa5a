"""Settings on the command line of the generated sets: written `key=value`, mistakes said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from diptych.synthetic.command_line import read_settings
from diptych.synthetic.rooms.generate import main

READERS = {"out": Path, "seed": int, "rate": float}


def test_values_are_read_by_their_key():
    settings = read_settings(["seed=3", "out=a=b", "rate=0.5"], READERS, "usage\n")
    assert settings == {"seed": 3, "out": Path("a=b"), "rate": 0.5}
    assert read_settings([], READERS, "usage\n") == {}


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--seed", r"--seed: settings are written key=value, and the keys are out, seed, rate"),
        ("speed=3", r"speed=3: settings .* keys are out, seed, rate"),
        ("seed=3.5", r"seed=3\.5: expected a whole number"),
        ("rate=high", r"rate=high: expected a number"),
    ],
)
def test_mistakes_are_named(argument, message):
    with pytest.raises(ValueError, match=message):
        read_settings([argument], READERS, "usage\n")


def test_help_ends_the_command(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    output = capsys.readouterr().out
    assert "python -m diptych.synthetic.rooms.generate out=FOLDER" in output and "num_train_hotels=1500" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "usage: "), (["seed=1"], "usage: "), (["out=x", "seed=-1"], "seed=-1 is too small"), (["data"], "key=value")],
)
def test_what_cannot_be_done_is_said(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_contact_sheet_is_written_without_a_set(tmp_path):
    assert main([f"sheet={tmp_path / 'deep' / 'sheet.png'}"]) == 0
    assert [path.name for path in tmp_path.rglob("*.png")] == ["sheet.png"]

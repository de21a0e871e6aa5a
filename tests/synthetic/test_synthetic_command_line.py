"""The commands that make generated sets: what cannot be done is said, a contact sheet needs no set."""

from __future__ import annotations

import pytest

from diptych.commands.main import run


def test_help_says_what_can_be_set(capsys):
    assert run("generate rooms", ["--help"]) == 0
    output = capsys.readouterr().out
    assert "usage: diptych generate rooms [out=PATH]" in output and "hotels to train on (default: 1500)" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "out=FOLDER"),
        (["seed=1"], "out=FOLDER"),
        (["out=x", "seed=-1"], "seed=-1 is too small"),
        (["x"], "key=value"),
    ],
)
def test_what_cannot_be_done_is_said(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("generate rooms", arguments) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_contact_sheet_is_written_without_a_set(tmp_path):
    assert run("generate rooms", [f"sheet={tmp_path / 'deep' / 'sheet.png'}"]) == 0
    assert [path.name for path in tmp_path.rglob("*.png")] == ["sheet.png"]

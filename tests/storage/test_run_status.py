"""The status that a run keeps of itself."""

from __future__ import annotations

import pytest

from diptych.storage.run_status import Objective, RunStatus, change_status, read_status, same_overrides, write_status


def test_what_is_written_is_read(tmp_path):
    status = RunStatus("done", ("seed=1", "trainer=cpu"), 12, 3.5, 2, "cpu", Objective("val/x", "min", 0.5), None, 3)
    write_status(tmp_path / "run", status)
    assert read_status(tmp_path / "run") == status
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["status.json"]


def test_a_change_keeps_the_rest(tmp_path):
    assert read_status(tmp_path) is None
    change_status(tmp_path, overrides=("seed=1",))
    changed = change_status(tmp_path, state="running", step=3)
    assert changed == read_status(tmp_path) == RunStatus("running", ("seed=1",), 3)


def test_an_unknown_state_is_refused():
    with pytest.raises(ValueError, match="state 'ended' of a run is not one of waiting"):
        RunStatus("ended")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"colour": "red"}', '{"state": "ended"}'])
def test_a_damaged_file_is_named(tmp_path, text):
    (tmp_path / "status.json").write_text(text)
    with pytest.raises(ValueError, match=r"status.json: not the status of a run"):
        read_status(tmp_path)


def test_words_are_compared_in_any_order():
    assert same_overrides(RunStatus(overrides=("a=1", "b=2")), ["b=2", "a=1"])
    assert not same_overrides(RunStatus(overrides=("a=1",)), ["a=1", "b=2"])

"""Locks between processes."""

from __future__ import annotations

import subprocess
import sys

import pytest

import patience
from diptych.storage.file_lock import lock_file, locked, try_lock

HOLDER = """
import sys, time
from pathlib import Path
from diptych.storage.file_lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def holder(tmp_path):
    """`holder(seconds)` is another process that holds `tmp_path/lock` for so long."""
    processes = []

    def start(seconds):
        command = [sys.executable, "-c", HOLDER, str(tmp_path / "lock"), str(seconds)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "held\n"
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_patience_ends_in_the_words_given(holder, tmp_path):
    holder(patience.SECONDS)
    with pytest.raises(ValueError, match="somebody is at work"), locked(tmp_path / "lock", 0, "somebody is at work"):
        pytest.fail("two hold it")


@pytest.mark.processes
def test_another_holder_is_waited_for(holder, tmp_path):
    process = holder(1)
    with locked(tmp_path / "lock"):
        assert process.wait(timeout=patience.SECONDS) == 0


def test_a_killed_holder_holds_nothing(holder, tmp_path):
    process = holder(patience.SECONDS)
    process.kill()
    process.wait()
    with locked(tmp_path / "lock", 0):  # at once
        pass


def test_it_is_free_again_after_an_error(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / "deep" / "lock"):
        raise KeyError
    with locked(tmp_path / "deep" / "lock", 0):
        pass


def test_a_folder_without_locks_only_warns(tmp_path, monkeypatch, caplog):
    import fcntl

    def refuse(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path / "lock"):
        pass
    assert "cannot be locked" in caplog.text


def test_a_folder_that_cannot_be_written_says_what_to_do(tmp_path):
    (tmp_path / "file").touch()
    refused = pytest.raises(ValueError, match=r"file cannot be written to \(.*\); name another$")
    with refused, locked(tmp_path / "file" / "lock", advice="name another"):
        pytest.fail("held")
    with pytest.raises(ValueError, match=r"file cannot be written to \([^;]*$"):
        try_lock(tmp_path / "file" / "lock")


def test_errors_of_the_block_are_its_own(tmp_path):
    with pytest.raises(OSError, match="^mine$"), locked(tmp_path / "lock", advice="name another"):
        raise OSError("mine")


def test_without_waiting_one_gets_it_or_not(holder, tmp_path):
    process = holder(60)
    assert try_lock(tmp_path / "lock") is None
    process.kill()
    process.wait()
    held = try_lock(tmp_path / "lock")
    assert held is not None and try_lock(tmp_path / "lock") is None
    held.close()
    with locked(tmp_path / "lock", 0):
        assert try_lock(tmp_path / "lock") is None


def test_without_locks_one_that_does_not_wait_is_refused(tmp_path, monkeypatch):
    import fcntl

    def refuse(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(ValueError, match=r"file system without locks \(.*not implemented\); set the folder"):
        try_lock(tmp_path / "lock", "set the folder")


def test_the_lock_of_a_folder_lies_beside_it(tmp_path):
    assert lock_file(tmp_path / "set") == tmp_path / ".set.lock"

"""Processes that the system killed, and limits that were met, are said in one sentence."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from torch.utils.data import DataLoader

from diptych.config.arguments import run
from diptych.config.lost_processes import lost_process

pytestmark = pytest.mark.hostile("limits")


def _killed(_: object = None) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Deadly:
    def __len__(self) -> int:
        return 4

    def __getitem__(self, position: int) -> int:
        _killed()
        return position


def with_loader() -> None:
    list(DataLoader(Deadly(), num_workers=1))  # type: ignore[arg-type]


def with_pool() -> None:
    with ProcessPoolExecutor(1, get_context("fork")) as pool:
        list(pool.map(_killed, [1]))


@pytest.mark.parametrize("work", [with_loader, with_pool])
def test_a_killed_process_is_one_sentence_that_names_memory_and_the_setting(work, capsys):
    assert run(work, "diptych work", []) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: a process that helped this one was killed from outside")
    assert "memory" in said and "data.num_workers" in said and said.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. ... out of shared memory."),
            "/dev/shm",
        ),
        (OSError(24, "Too many open files"), "ulimit -n"),
        (RuntimeError("received 0 items of ancdata"), "ulimit -n"),
        (OSError("[Errno 24] Too many open files: 'x'"), "ulimit -n"),  # out of a process that loads data
        (BlockingIOError(11, "Resource temporarily unavailable"), "ulimit -u"),
        (OSError(12, "Cannot allocate memory"), "memory has run out"),
        (MemoryError(), "memory has run out"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"), "memory has run out"),
    ],
)
def test_limits_are_named(error, expected):
    assert expected in str(lost_process(error))


def test_other_errors_are_their_own():
    assert lost_process(RuntimeError("a bug")) is None
    assert lost_process(OSError(28, "No space left on device")) is None


def test_what_an_error_was_raised_instead_of_is_not_its_reason():
    """A lock that another process holds is tried again until it is given up."""
    try:
        try:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        except BlockingIOError:
            raise ValueError("the folder is another process's") from None
    except ValueError as error:
        assert lost_process(error) is None

"""No signal finds a worker that does not know yet what to do with it; whole runs are in test_preemption."""

from __future__ import annotations

import signal

import pytest
import torch

from diptych.parallel import loader_workers
from diptych.parallel.loader_workers import QuietLoader

SIGNALS = {signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}


class Masks:
    """In a worker: the signals that are blocked."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def test_workers_begin_with_the_signals_blocked():
    loader = QuietLoader(Masks(), batch_size=None, num_workers=1)
    loader.worker_init_fn = None  # as it is in a worker that has only just begun
    former = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    (masked,) = loader
    assert set(masked) >= SIGNALS
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == former  # here nothing is different


def test_a_worker_that_has_begun_waits_for_sigterm_of_its_main_process():
    (masked,) = QuietLoader(Masks(), batch_size=None, num_workers=1)
    assert signal.SIGTERM in masked


@pytest.mark.hostile("limits")
def test_workers_are_not_started_where_shared_memory_has_no_room_for_their_batches(monkeypatch):
    monkeypatch.setattr(loader_workers, "free_bytes", lambda folder: 3_000_000)
    loader = QuietLoader(list(range(8)), batch_size=2, num_workers=2, batch_bytes=1_000_000)
    with pytest.raises(ValueError, match=r"room for 3.0 MB, and 2 processes want 4.0 MB .* lower data.num_workers"):
        next(iter(loader))
    for fits in ({"num_workers": 0, "batch_bytes": 10**9}, {"num_workers": 1, "batch_bytes": 1_000_000}):
        assert len(list(QuietLoader(list(range(8)), batch_size=2, **fits))) == 4


class Rows:
    """Rows of a megabyte; the second cannot be read."""

    def __len__(self):
        return 2

    def __getitem__(self, position):
        if position:
            raise ValueError("row 1 of rows.txt\nis none")
        return torch.zeros(1_000_000, dtype=torch.uint8)


@pytest.mark.hostile("limits")
def test_a_batch_that_shared_memory_has_no_room_for_ends_in_a_sentence(monkeypatch):
    """Torch would lose it, and wait for it for ever."""
    monkeypatch.setattr(loader_workers, "free_bytes", lambda folder: 999_999)
    with pytest.raises(ValueError, match=r"^/dev/shm, .* room for 1000.0 kB, and a batch takes 1.0 MB: lower .*\)$"):
        list(QuietLoader(Rows(), batch_size=1, num_workers=1))
    assert len(next(iter(QuietLoader(Rows(), batch_size=1)))) == 1  # without workers it is not needed


def test_what_a_worker_raises_is_said_without_its_traceback():
    batches = iter(QuietLoader(Rows(), batch_size=1, num_workers=1))
    assert next(batches).shape == (1, 1_000_000)
    with pytest.raises(ValueError, match=r"^row 1 of rows.txt\nis none$"):
        next(batches)

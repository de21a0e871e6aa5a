"""No signal finds a worker that does not know yet what to do with it; whole runs are in test_preemption."""

from __future__ import annotations

import signal

from diptych.data.triplets.loader_workers import QuietLoader

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

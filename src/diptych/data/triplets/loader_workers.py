"""What the worker processes of a DataLoader do with signals."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from torch.utils.data import DataLoader

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class QuietLoader(DataLoader):
    """A DataLoader whose workers ignore SIGUSR1, SIGUSR2, and SIGTERM unless the main process sent it.

    A cluster signals every process of a job; the main process then finishes its step, for which it needs its workers.
    What it tells them itself they obey, or it would wait for them for ever when it ends.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.worker_init_fn = _leave_signals_to_main

    def __iter__(self) -> Any:
        """Starts the workers with the signals blocked: none of them sees one before it knows what to do with it."""
        former = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            return super().__iter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _leave_signals_to_main(worker_id: int) -> None:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_obey_main, daemon=True).start()


def _obey_main() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)

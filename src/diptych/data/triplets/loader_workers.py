"""What the worker processes of a DataLoader do with signals, and the memory through which they hand over batches."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from diptych.storage.room import free_bytes, size_in_words

_SHARED_MEMORY = Path("/dev/shm")
_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class QuietLoader(DataLoader):
    """A DataLoader whose workers ignore SIGUSR1, SIGUSR2, and SIGTERM unless the main process sent it.

    A cluster signals every process of a job; the main process then finishes its step, for which it needs its workers.
    What it tells them itself they obey, or it would wait for them for ever when it ends.

    `batch_bytes` is what a batch takes at least, as far as it is known. Iterating raises ValueError where shared memory
    has no room for the batches that the workers prepare: they would die, or all would wait for ever.
    """

    def __init__(self, *args: Any, batch_bytes: int = 0, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._batch_bytes = batch_bytes
        self.worker_init_fn = _leave_signals_to_main

    def __iter__(self) -> Any:
        """Starts the workers with the signals blocked: none of them sees one before it knows what to do with it."""
        _check_shared_memory(self.num_workers, self.prefetch_factor or 0, self._batch_bytes)
        former = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            return super().__iter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _check_shared_memory(num_workers: int, prefetched: int, batch_bytes: int) -> None:
    wanted = num_workers * prefetched * batch_bytes
    if wanted and _SHARED_MEMORY.is_dir() and (room := free_bytes(_SHARED_MEMORY)) < wanted:
        raise ValueError(
            f"{_SHARED_MEMORY}, the memory through which loading processes hand over pictures, has room for"
            f" {size_in_words(room)}, and {num_workers} processes want {size_in_words(wanted)} for {prefetched} batches"
            " each: lower data.num_workers (with 0 it is not needed) or the batch size, or give the container more"
            " (docker run --shm-size)"
        )


def _leave_signals_to_main(worker_id: int) -> None:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_obey_main, daemon=True).start()


def _obey_main() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)

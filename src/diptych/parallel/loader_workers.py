"""What the worker processes of a DataLoader do with signals, the memory through which they hand over batches, and how
their errors are said.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from diptych.storage.room import free_bytes, size_in_words

_SHARED_MEMORY = Path("/dev/shm")
_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
_OF_WORKER = re.compile(r"Caught (\w+) in DataLoader worker process \d+\.\n")


class QuietLoader(DataLoader):
    """A DataLoader whose workers ignore SIGUSR1, SIGUSR2, and SIGTERM unless the main process sent it.

    A cluster signals every process of a job; the main process then finishes its step, for which it needs its workers.
    What it tells them itself they obey, or it would wait for them for ever when it ends.

    `batch_bytes` is what a batch takes at least, as far as it is known. The first batch raises ValueError where shared
    memory has no room for those that the workers prepare, and each one for which there is none when it is ready: the
    workers would die, or all would wait for ever. Errors of workers are said as where they happened, without their
    tracebacks.
    """

    def __init__(self, *args: Any, batch_bytes: int = 0, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._batch_bytes = batch_bytes
        self.worker_init_fn = _leave_signals_to_main
        if not isinstance(self.collate_fn, _WithRoom):  # Lightning may have made this loader of another
            self.collate_fn = _WithRoom(self.collate_fn)

    def __iter__(self) -> Any:
        """The batches. The workers are started with the first one, since Lightning's clean-up would hide what fails
        here; with the signals blocked: none of them sees one before it knows what to do with it.
        """
        return _batches(self._started)

    def _started(self) -> Iterator[Any]:
        _check_shared_memory(self.num_workers, self.prefetch_factor or 0, self._batch_bytes)
        former = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            return super().__iter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _batches(start: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    try:
        yield from start()
    except (ValueError, OSError, RuntimeError) as error:
        if (found := _OF_WORKER.match(str(error))) is None:
            raise
        said = re.split(rf"^(?:[\w.]+\.)?{found[1]}: ", str(error), flags=re.MULTILINE)[-1]
        raise type(error)(said.strip()) from error


class _WithRoom:
    """Collates; in a worker it raises ValueError where shared memory has no room for the batch."""

    def __init__(self, collate: Callable[[Any], Any]) -> None:
        self.collate = collate

    def __call__(self, examples: Any) -> Any:
        batch = self.collate(examples)
        if get_worker_info() is not None:
            _check_shared_memory(1, 1, sum(tensor.nbytes for tensor in _tensors(batch)))
        return batch


def _tensors(batch: Any) -> Iterator[Tensor]:
    if isinstance(batch, Tensor):
        yield batch
    elif is_dataclass(batch):
        batch = [getattr(batch, field.name) for field in fields(batch)]
    elif isinstance(batch, Mapping):
        batch = list(batch.values())
    if isinstance(batch, Sequence) and not isinstance(batch, str | bytes):
        for part in batch:
            yield from _tensors(part)


def _check_shared_memory(num_workers: int, prefetched: int, batch_bytes: int) -> None:
    wanted = num_workers * prefetched * batch_bytes
    if wanted and _SHARED_MEMORY.is_dir() and (room := free_bytes(_SHARED_MEMORY)) < wanted:
        batches = f"{num_workers} processes want {size_in_words(wanted)} for {prefetched} batches each"
        if num_workers == prefetched == 1:
            batches = f"a batch takes {size_in_words(wanted)}"
        raise ValueError(
            f"{_SHARED_MEMORY}, the memory through which loading processes hand over batches, has room for"
            f" {size_in_words(room)}, and {batches}: lower data.num_workers (with 0 it is not needed) or the batch"
            " size, or give the container more (docker run --shm-size)"
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

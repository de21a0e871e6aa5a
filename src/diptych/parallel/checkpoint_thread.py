"""Checkpoints that are written while the training goes on."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diptych.parallel.checkpoints import AtomicCheckpointIO
from diptych.parallel.sharded_checkpoints import replace_tensors
from diptych.storage.room import free_bytes, size_in_words
from diptych.storage.whole import write_same

log = logging.getLogger(__name__)


class ThreadedCheckpointIO(AtomicCheckpointIO):
    """Copies a checkpoint's tensors and writes them in a thread, one checkpoint at a time; `failures` says what became
    of it, and the log at once. The copies take the memory of one checkpoint on the host, up to twice that where they
    are pinned, from the first one to the end of the process.
    """

    def __init__(self) -> None:
        self._copies = HostCopies()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._unwritten: list[Path] = []

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Sequence[Path] | None = None
    ) -> None:
        """Begins to write what the checkpoint is now to `path`, and then to give that file the further names of
        `storage_options`, in their order. Raises what the checkpoint before failed for, if nobody has asked.
        """
        for error in self.failures().values():
            raise error
        self._unwritten = [Path(path), *(storage_options or ())]
        self._thread = threading.Thread(target=self._write, args=(self._copies.of(checkpoint),), name="checkpoint")
        self._thread.start()

    def failures(self) -> dict[Path, OSError]:
        """Waits until the latest checkpoint is on the disk; the names that it does not have, and why. What was said
        once is not said again. Raises any other error of the thread.
        """
        self.teardown()
        error, self._error = self._error, None
        if error is not None and not isinstance(error, OSError):
            raise error
        return {} if error is None else dict.fromkeys(self._unwritten, error)

    def teardown(self) -> None:
        """Waits until the latest checkpoint is on the disk, or cannot be; Lightning calls it when a fit ends."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _write(self, checkpoint: dict[str, Any]) -> None:
        written = self._unwritten[0]
        try:
            super().save_checkpoint(checkpoint, written)
            while len(self._unwritten) > 1:
                self._unwritten.pop(0)
                write_same(self._unwritten[0], written)
        except OSError as error:
            self._error = unsaved(error, written.parent)
            log.error("%s", self._error)
        except BaseException as error:
            self._error = error


def unsaved(error: OSError, folder: Path) -> OSError:
    """The error of a checkpoint that could not be written there, with the room that there is."""
    room = size_in_words(free_bytes(folder))
    return OSError(f"{error}. The disk is full, or writing to it limited: {room} are free")


class HostCopies:
    """Copies of checkpoints on the host, each in the memory of the one before: pinned for tensors on a GPU, since only
    then does the host not wait for every single one.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[str, int], Tensor] = {}
        self._can_pin = True

    @torch.no_grad()
    def of(self, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """The checkpoint as it is now; what shared memory, such as tied weights, still does. Overwrites what the call
        before returned. The host waits for the GPU once.
        """
        held: dict[tuple[str, int], Tensor] = {}
        met = Counter[str]()  # keys of one path may be alike: 1 and "1"
        taken: dict[Any, tuple[Any, Tensor]] = {}
        streams = set()

        def copied(place: str, tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            key = id(storage), tensor.dtype, tensor.storage_offset(), tensor.shape, tensor.stride()
            if key not in taken:
                own = place, met[place]
                met[place] += 1
                before = self._held.get(own)
                if before is None or (before.dtype, before.shape) != (tensor.dtype, tensor.shape):
                    before = self._room_for(tensor)
                held[own] = before.copy_(tensor, non_blocking=tensor.is_cuda)  # others' copies nobody waits for
                taken[key] = storage, held[own]
                if tensor.is_cuda:
                    streams.add(torch.cuda.current_stream(tensor.device))
            return taken[key][1]

        copy = replace_tensors(checkpoint, copied)
        for stream in streams:
            stream.synchronize()
        self._held = held
        return copy

    def _room_for(self, tensor: Tensor) -> Tensor:
        """Memory of the host; not pinned where the system does not give so much of that."""
        if tensor.is_cuda and self._can_pin:
            try:
                return torch.empty_like(tensor, device="cpu", pin_memory=True)
            except RuntimeError as error:
                self._can_pin = False
                log.warning("checkpoints are copied to memory that is not pinned, which takes longer: %s", error)
        return torch.empty_like(tensor, device="cpu")

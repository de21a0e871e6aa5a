"""Checkpoints that are written while the training goes on."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diptych.parallel.checkpoints import AtomicCheckpointIO
from diptych.parallel.sharded_checkpoints import replace_tensors
from diptych.storage.whole import write_same


class ThreadedCheckpointIO(AtomicCheckpointIO):
    """Copies a checkpoint's tensors and writes them in a thread, one checkpoint at a time; `failures` says what became
    of it. The copies take the memory of one checkpoint on the host, from the first one to the end of the process.
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
        except BaseException as error:
            self._error = error


class HostCopies:
    """Copies of checkpoints on the host, each in the memory of the one before: pinned for tensors on a GPU, since only
    then does the host not wait for every single one.
    """

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    @torch.no_grad()
    def of(self, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """The checkpoint as it is now; what shared memory, such as tied weights, still does. Overwrites what the call
        before returned. The host waits for the GPU once.
        """
        held: dict[str, Tensor] = {}
        taken: dict[Any, tuple[Any, Tensor]] = {}
        streams = set()

        def copied(place: str, tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            key = id(storage), tensor.dtype, tensor.storage_offset(), tensor.shape, tensor.stride()
            if key not in taken:
                before = self._held.get(place)
                if before is None or (before.dtype, before.shape) != (tensor.dtype, tensor.shape):
                    before = torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda)
                held[place] = before.copy_(tensor, non_blocking=True)
                taken[key] = storage, held[place]
                if tensor.is_cuda:
                    streams.add(torch.cuda.current_stream(tensor.device))
            return taken[key][1]

        copy = replace_tensors(checkpoint, copied)
        for stream in streams:
            stream.synchronize()
        self._held = held
        return copy

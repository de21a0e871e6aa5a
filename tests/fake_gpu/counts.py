"""What runs on a device, counted operator by operator; to be entered within FakeTensorMode, beside a `watch`."""

from __future__ import annotations

import weakref
from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

NOTHING_TO_DO = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view")


class Counts(TorchDispatchMode):
    """`kernels` on the GPU by name, and `bytes` of their operands and results; views and what only allocates are none,
    nor are copies from or to the host, which a `watch` counts. `collectives` and the bytes `sent`, by kind, type and
    device, of the larger side of what a process hands over and gets. `live` and `peak` are bytes of what was made
    under it on the GPU, without any loss of an allocator.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self._seen: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()
        self.clear()

    def clear(self) -> None:
        """Begins anew; what lives goes on living."""
        self.kernels, self.collectives, self.sent = Counter(), Counter(), Counter()
        self.bytes, self.peak = 0, self.live

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs, name = kwargs or {}, function.__name__.split(".")[0]
        result = function(*args, **kwargs)
        given, made = (
            [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)] for tree in ((args, kwargs), result)
        )
        self._remember(given, made)
        if function.namespace in ("c10d", "_c10d_functional"):
            largest = max((*given, *made), key=lambda tensor: tensor.nbytes, default=None)
            if name not in ("wait_tensor", "barrier") and largest is not None:
                kind = f"{name.strip('_')} {largest.dtype} {largest.device.type}"
                self.collectives[kind] += 1
                self.sent[kind] += largest.nbytes
        elif not function.is_view and function.namespace != "prim" and name not in NOTHING_TO_DO:
            tensors = list({id(tensor): tensor for tensor in (*given, *made)}.values())
            is_copy = name in ("copy_", "_to_copy") and not all(tensor.is_cuda for tensor in tensors)
            if any(tensor.is_cuda for tensor in tensors) and not is_copy:
                self.count(function, name, args, kwargs, result, sum(tensor.nbytes for tensor in tensors))
        return result

    def count(self, function: Any, name: str, args: tuple, kwargs: dict, result: Any, moved: int) -> None:
        """One kernel, which moves so many bytes."""
        self.kernels[name] += 1
        self.bytes += moved

    def _remember(self, given: list[torch.Tensor], made: list[torch.Tensor]) -> None:
        self._seen.update(tensor.untyped_storage() for tensor in given if tensor.is_cuda)  # made outside, or counted
        for storage in (tensor.untyped_storage() for tensor in made if tensor.is_cuda):
            if storage not in self._seen:
                self._seen.add(storage)
                self.live += storage.nbytes()
                weakref.finalize(storage, self._freed, storage.nbytes())
        self.peak = max(self.peak, self.live)

    def _freed(self, size: int) -> None:
        self.live -= size

"""A bound for the memory that a model of a stranger's takes while it is built."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_FREE_BYTES = 2**31  # masks, buffers and tables that no checkpoint holds
_FREE_TENSORS = 20_000


class TensorBudget(TorchDispatchMode):
    """A context in which tensors are made of up to a few times what `weights` hold, and in a few times their number;
    nothing that is larger is allocated.

    Raises:
        ValueError: before the tensor that would be too much; `name` is what it calls the weights' file.
    """

    def __init__(self, weights: Mapping[str, Tensor], name: str) -> None:
        super().__init__()
        self._name = name
        self._bytes = _FREE_BYTES + 4 * sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
        self._tensors = _FREE_TENSORS + 40 * len(weights)

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        """Counts what operators without a tensor among their arguments make."""
        kwargs = kwargs or {}
        if not any(isinstance(value, Tensor) for value in (*args, *kwargs.values())):
            dtype = kwargs.get("dtype") or torch.get_default_dtype()
            self._spend(_numel(func, args, kwargs) * dtype.itemsize)
        return func(*args, **kwargs)

    def _spend(self, size: int) -> None:
        self._bytes -= size
        self._tensors -= 1
        if self._bytes < 0 or self._tensors < 0:
            raise ValueError(
                f"{self._name}: its settings describe a model that is far larger than its weights; nothing was loaded"
            )


def _numel(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    size = kwargs.get("size", args[0] if args else 0)
    if isinstance(size, list | tuple):
        return math.prod(int(side) for side in size)
    if "arange" in str(func):
        numbers = [float(value) for value in args if isinstance(value, int | float)]
        start, stop, step = ([0.0, *numbers, 1.0] if len(numbers) == 1 else [*numbers, 1.0])[:3]
        return max(0, math.ceil((stop - start) / step)) if step else 0
    steps = kwargs.get("steps", args[2] if len(args) > 2 else 0)  # linspace, logspace
    return int(steps) if isinstance(steps, int) else int(size) if isinstance(size, int) else 0

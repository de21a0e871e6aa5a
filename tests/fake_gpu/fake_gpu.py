"""A GPU that is not there: code runs on fake CUDA tensors, and every place where the host waits for it is noted.

Values do not exist; devices, types, shapes, the choice of kernels, autocast, autograd and streams are torch's own.
Start the process with `environment()`. What is not covered: values, speed, memory, bitsandbytes' kernels, NCCL, DDP's
C++ reducer.

When torch changes and this fails: a symbol that libcudart lacks is named by the loader (add it to fake_cuda.c); a GPU
that is not seen, or has no memory, means another layout of cudaDeviceProp (`cudaGetDeviceProperties` there); an
operator that FakeTensorMode refuses because its result depends on values belongs into `watch`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def environment(folder: Path, *capabilities: str) -> dict[str, str]:
    """Builds the fake libraries into `folder` (needs a C compiler); returns the environment of the process to start,
    which has a GPU of each capability.
    """
    build = ["cc", "-shared", "-fPIC", "-O1", "-w", HERE / "fake_cuda.c", "-o"]
    for name, extra in (("libfakecudart.so", ()), ("libcuda.so.1", ("-DDRIVER", "-Wl,-soname,libcuda.so.1"))):
        subprocess.run([*build, folder / name, *extra], check=True)
    paths = f"{folder}:{os.environ.get('LD_LIBRARY_PATH', '')}"
    fake = {"FAKE_CUDA_DEVICES": str(len(capabilities)), "FAKE_CUDA_CAPABILITY": ",".join(capabilities)}
    return {**os.environ, "LD_LIBRARY_PATH": paths, "LD_PRELOAD": str(folder / "libfakecudart.so"), **fake}


def prepare() -> None:
    """What FakeTensorMode cannot do by itself: be used as parameters that move, and be copied deeply."""
    import torch
    import torch._subclasses.fake_tensor as fake
    from torch import nn

    def apply(self: nn.Module, function: Callable, recurse: bool = True) -> nn.Module:
        for child in self.children() if recurse else ():
            child._apply(function)
        for name, parameter in list(self._parameters.items()):
            if parameter is not None:
                with torch.no_grad():
                    moved = function(parameter)
                if moved is not parameter:
                    self._parameters[name] = nn.Parameter(moved.detach(), parameter.requires_grad)
        for name, buffer in list(self._buffers.items()):
            if buffer is not None:
                self._buffers[name] = function(buffer)
        return self

    fake.init_gpu_context = lambda device: None  # it would allocate
    of_real = torch.Tensor.__deepcopy__

    def deepcopy(self: torch.Tensor, memo: dict) -> torch.Tensor:
        with fake.unset_fake_temporarily():
            return of_real(self, memo)

    torch.Tensor.__deepcopy__ = deepcopy
    fake.FakeTensor.__deepcopy__ = lambda self, memo: self.clone()
    nn.Module._apply = apply
    # In it, operators that are made of others would come to `watch` as one.
    of_inference = torch.inference_mode
    torch.inference_mode = lambda mode=True: torch.no_grad() if mode is True else of_inference(mode)


def watch(answers: Mapping[str, Any] | None = None) -> Any:
    """A dispatch mode, to be entered within FakeTensorMode. `waits` counts (what, where) the host waits for the device,
    `sent` the copies from the host to it and their bytes. `answers` are for what depends on values: `item` (place,
    tensor) -> number, `nonzero` and `unique_consecutive` row counts, `mask` (mask) -> rows.
    """
    import torch
    from torch._subclasses.fake_tensor import unset_fake_temporarily
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    given = dict(answers or {})

    def item(place: str, tensor: torch.Tensor) -> Any:
        if "item" in given:
            return given["item"](place, tensor)
        return True if tensor.dtype == torch.bool else 1.0 if tensor.is_floating_point() else 0

    class Watch(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.waits, self.sent, self._tensor = Counter(), Counter(), torch.tensor

        def __enter__(self) -> Watch:
            torch.tensor = self._noted_tensor  # a number that is put on the device by a blocking copy, unseen below
            return super().__enter__()

        def __exit__(self, *args: Any) -> None:
            torch.tensor = self._tensor
            super().__exit__(*args)

        def _noted_tensor(self, data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            if kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cuda":
                self.waits["torch.tensor on cuda", _place()] += 1
            return self._tensor(data, *args, **kwargs)

        def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
            kwargs, name = kwargs or {}, function.__name__.split(".")[0]
            tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
            on_device = any(tensor.is_cuda for tensor in tensors)
            if _on_host(name, tensors, kwargs):
                with unset_fake_temporarily():
                    return function(*args, **kwargs)
            if name == "_pin_memory":
                return args[0]  # FakeTensorMode does not know it
            if name == "_local_scalar_dense":
                if on_device:
                    self.waits[name, _place()] += 1
                    return item(_place(), args[0])
                try:
                    return function(*args, **kwargs)
                except Exception:  # a fake CPU tensor has no value either
                    return item(_place(), args[0])
            if on_device and name in ("is_nonzero", "equal", "nonzero", "_unique2", "unique_consecutive"):
                self.waits[name, _place()] += 1
                rows = args[0].numel() if name == "_unique2" else given.get(name, 1)
                index = torch.empty(rows, dtype=torch.long, device=args[0].device)
                if name == "nonzero":
                    return index[:, None].expand(rows, args[0].ndim).clone()
                if name in ("_unique2", "unique_consecutive"):
                    return args[0].new_empty(rows), index.clone(), index.clone()
                return bool(item(_place(), args[0]))
            if on_device and name == "index":
                masks = [part for part in args[1] if part is not None and part.dtype in (torch.bool, torch.uint8)]
                if masks:
                    self.waits["index by a mask", _place()] += 1
                    rows = given["mask"](masks[0]) if "mask" in given else masks[0].numel()
                    return args[0].new_empty((rows, *args[0].shape[masks[0].ndim :]))
            result = function(*args, **kwargs)
            if name in ("_to_copy", "copy_"):
                source = args[1] if name == "copy_" else args[0]
                waits = not (kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2]))
                if result.is_cuda and not source.is_cuda:
                    self.sent.update(copies=1, bytes=source.nbytes)
                if source.device.type != result.device.type and waits:
                    self.waits[f"copy {source.device.type} to {result.device.type}", _place()] += 1
            return result

    return Watch()


def readable(waits: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """The waits of a watch as JSON can say them."""
    return {" ".join(key): count for key, count in waits.items()}


def attention(kernels: Iterable[str]) -> list[str]:
    """The kernels of attention among these."""
    return sorted(name for name in kernels if "attention" in name or "varlen" in name)


def _on_host(name: str, tensors: list[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether this is arithmetic of real tensors on the host, by which the host decides: it has values."""
    from torch._subclasses.fake_tensor import FakeTensor

    if not tensors:
        return name in ("arange", "scalar_tensor") and str(kwargs.get("device") or "cpu") == "cpu"
    stays = str(kwargs.get("device") or "cpu") == "cpu"
    return stays and all(not tensor.is_cuda and not isinstance(tensor, FakeTensor) for tensor in tensors)


def _place() -> str:
    """The innermost line of Diptych or Lightning that is being executed; the tests' own folder may be called alike."""
    names = ("diptych", "lightning", "transformers", "peft", "open_clip")
    folders = {f"{Path(str(sys.modules[name].__file__)).parent}/": name for name in names if name in sys.modules}
    for frame in reversed(traceback.extract_stack()):
        for folder, name in folders.items():
            if frame.filename.startswith(folder):
                return f"{name}/{frame.filename.removeprefix(folder)}:{frame.name}"
    return "?"

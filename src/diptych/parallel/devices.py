"""What every process that computes on a GPU sets first, and how small tensors get there without being waited for."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

_on_gpu = False


def prepare_gpu(device: torch.device) -> None:
    """Makes a GPU this process's own, before anything is put on one, and chooses kernels; nothing on a CPU.

    cuDNN's attention, which torch prefers on Hopper and Blackwell, builds a plan for every new shape and stride, in 23
    ms to 0.5 s, and keeps it for ever: texts, packed examples and answers that grow have a new one nearly every time.
    """
    global _on_gpu
    _on_gpu = device.type == "cuda"
    if _on_gpu:
        torch.cuda.set_device(device)
        torch.backends.cuda.enable_cudnn_sdp(False)


def on_gpu() -> bool:
    """Whether this process computes on a GPU, as `prepare_gpu` was told: a machine may have one that is not meant."""
    return _on_gpu


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device; of one that is on the host, the host does not wait for the copy."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def fetched(tensor: Tensor) -> Callable[[], Tensor]:
    """Begins to copy a tensor to the host; what is returned waits for it, and not for what the GPU was given since."""
    if not tensor.is_cuda:
        return lambda: tensor
    copy = torch.empty_like(tensor, device="cpu", pin_memory=True)
    copy.copy_(tensor, non_blocking=True)
    came = torch.cuda.Event()
    came.record()

    def wait() -> Tensor:
        came.synchronize()
        return copy

    return wait


def free_memory(device: torch.device) -> int | None:
    """Bytes of a GPU that this process can have: those that nobody has, and those that torch keeps without using them.
    None of other devices.
    """
    if device.type != "cuda":
        return None
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + kept


# The oldest driver that runs what is built for a CUDA release (NVIDIA, "CUDA Compatibility", minor version table).
OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}


def check_gpu_usable(devices: Path = Path("/dev"), version: Path = Path("/proc/driver/nvidia/version")) -> None:
    """To be called where a GPU would be taken if there is one: a machine that has one that torch cannot use would
    otherwise train on its CPU, for days.

    Raises:
        ValueError: there is an NVIDIA GPU, not hidden by CUDA_VISIBLE_DEVICES, and torch does not see it; says why.
    """
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "unset").strip() in ("", "-1")
    if hidden or torch.cuda.is_available() or not any(devices.glob("nvidia[0-9]*")):
        return
    raise ValueError(
        f"this machine has an NVIDIA GPU that torch {torch.__version__} cannot use: {_why_not(version)}; "
        "or compute without it: trainer=cpu"
    )


def require_gpu() -> None:
    """To be called where a GPU is asked for.

    Raises:
        ValueError: there is none that torch can use; says what to do.
    """
    check_gpu_usable()
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        return
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "unset").strip()
    why = f" (CUDA_VISIBLE_DEVICES={hidden!r} hides those that there may be)" if hidden in ("", "-1") else ""
    raise ValueError(
        f"trainer.accelerator=gpu: there is no GPU here{why}; trainer=cpu or trainer=ddp_cpu computes without, and"
        " trainer=auto takes one where there is one"
    )


def _why_not(version: Path) -> str:
    if torch.version.cuda is None:
        return "it was built without CUDA; install torch and torchvision from the ordinary registry"
    text = version.read_text(errors="replace") if version.is_file() else ""
    found = re.search(r"\s(\d{3,})\.\d+", text)
    cuda = int(torch.version.cuda.split(".")[0])
    wanted = OLDEST_DRIVER.get(cuda, max(OLDEST_DRIVER.values()))
    if found is None or int(found[1]) >= wanted:
        return f"CUDA {torch.version.cuda} does not start; see what nvidia-smi says"
    runs = max((release for release, driver in OLDEST_DRIVER.items() if driver <= int(found[1])), default=None)
    other = "" if runs is None else f", or a torch that was built for CUDA {runs}"
    old = f"its driver {found[0].strip()} is too old for CUDA {torch.version.cuda}"
    return f"{old}; install driver {wanted} or newer{other}"

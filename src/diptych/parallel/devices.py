"""What every process that computes on a GPU sets first, and how small tensors get there without being waited for."""

from __future__ import annotations

import torch
from torch import Tensor


def prepare_gpu(device: torch.device) -> None:
    """Makes a GPU this process's own, before anything is put on one, and chooses kernels; nothing on a CPU.

    cuDNN's attention, which torch prefers on Hopper and Blackwell, builds a plan for every new shape and stride, in 23
    ms to 0.5 s, and keeps it for ever: texts, packed examples and answers that grow have a new one nearly every time.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.backends.cuda.enable_cudnn_sdp(False)


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device; of one that is on the host, the host does not wait for the copy."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)

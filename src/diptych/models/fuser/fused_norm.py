"""RMS norms of a language model in one pass on a GPU, where transformers' take six, in float32."""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F


def fuse_norms(model: nn.Module) -> None:
    """Makes the model's frozen RMS norms compute with torch's kernel on GPUs, which rounds once, in float32 exactly as
    they do. Norms that compute something else (1 + weight, a gate) stay as they are. On the CPU, where torch has no
    such kernel, nothing changes.
    """
    for module in model.modules():
        if is_rms_norm(module):
            module.forward = MethodType(_forward, module)


def is_rms_norm(module: nn.Module) -> bool:
    """Whether the module, by its own answer on the host, computes `x / sqrt(mean(x^2) + variance_epsilon) * weight`."""
    weight, eps = getattr(module, "weight", None), getattr(module, "variance_epsilon", None)
    if not (isinstance(weight, nn.Parameter) and weight.ndim == 1 and isinstance(eps, float)):
        return False
    draws = torch.Generator().manual_seed(0)
    other = torch.rand(len(weight), generator=draws)
    x = torch.randn(2, len(weight), generator=draws) * eps**0.5  # for which epsilon matters
    answer = functional_call(module, {"weight": other}, (x,))
    return torch.allclose(answer, F.rms_norm(x, other.shape, other, eps), rtol=1e-5, atol=1e-6)


def _forward(self: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """In place of a norm's own: of `x` (..., D), in its type."""
    weight = self.weight
    if args or kwargs or not x.is_cuda or weight.dtype != x.dtype or weight.requires_grad:
        theirs: Tensor = type(self).forward(self, x, *args, **kwargs)
        return theirs
    return fused_rms_norm(x, weight, self.variance_epsilon)


def fused_rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """The norm of `x` (..., D), in its type also under autocast, which would have it all in float32."""
    with torch.autocast(x.device.type, enabled=False):
        return F.rms_norm(x, weight.shape, weight, eps)

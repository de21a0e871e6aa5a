"""QuickGELU, the activation of OpenAI's CLIP, with one saved tensor instead of three."""

from __future__ import annotations

from typing import Any

import torch
from open_clip.transformer import QuickGELU
from torch import Tensor, nn
from torch.nn import functional as F

_SHARPNESS = 1.702


class _QuickGELU(torch.autograd.Function):
    """x sigmoid(1.702 x) = silu(1.702 x) / 1.702, whose derivative is that of silu at 1.702 x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return F.silu(x * _SHARPNESS).mul_(1 / _SHARPNESS)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.ops.aten.silu_backward(gradient, x * _SHARPNESS)


class LeanQuickGELU(nn.Module):
    """x sigmoid(1.702 x), elementwise (Hendrycks and Gimpel 2016, section 2), keeping only x for the backward pass.

    Written as products, every factor is kept as well: three tensors of four times the model's width per layer.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The activation of `x`, of its shape and precision."""
        return _QuickGELU.apply(x)


def make_lean(model: nn.Module) -> None:
    """Exchanges every open_clip QuickGELU in the model; there are no weights in it."""
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, QuickGELU):
                setattr(module, name, LeanQuickGELU())

"""QuickGELU, the activation of OpenAI's CLIP, with one saved tensor instead of three, and as one kernel on GPUs."""

from __future__ import annotations

from typing import Any

import torch
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


class QuickGELUNetwork(nn.Sequential):
    """The feed-forward of a block: the linear layer `c_fc`, QuickGELU, and the linear layer `c_proj`.

    As QuickGELU is silu(1.702 x) / 1.702, the factors can be taken into the weights: what is left is a single kernel,
    and the weights are much smaller than a GPU's batch of activations. Not so for a few texts on a CPU.
    """

    c_fc: nn.Linear
    c_proj: nn.Linear

    def __init__(self, network: nn.Sequential) -> None:
        super().__init__()
        for name, layer in network.named_children():
            self.add_module(name, layer)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (..., D) to (..., D)."""
        return super().forward(tokens) if tokens.device.type == "cpu" else self.with_scaled_weights(tokens)

    def with_scaled_weights(self, tokens: Tensor) -> Tensor:
        """The same with the factors in the weights, for any device."""
        first, last = self.c_fc, self.c_proj
        hidden = F.silu(F.linear(tokens, first.weight * _SHARPNESS, first.bias * _SHARPNESS))
        return F.linear(hidden, last.weight / _SHARPNESS, last.bias)

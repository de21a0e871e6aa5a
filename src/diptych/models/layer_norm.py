"""A LayerNorm that autocast on a GPU does not send by way of float32."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LeanLayerNorm(nn.LayerNorm):
    """A LayerNorm computed in the type of its input: mean and variance are float32 all the same.

    Under autocast on a GPU torch's, and open_clip's, turns its input into float32 first, and its output back.
    """

    @classmethod
    def of(cls, norm: nn.LayerNorm) -> LeanLayerNorm:
        """The same norm, with the same weights."""
        lean = cls(norm.normalized_shape, norm.eps, device="meta")
        lean.weight, lean.bias = norm.weight, norm.bias
        return lean

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (..., D), normed, in their type."""
        if not tokens.is_cuda:  # the CPU's kernel takes weights of another type, and autocast leaves it alone
            return super().forward(tokens)
        weight, bias = self.weight.to(tokens.dtype), self.bias.to(tokens.dtype)
        with torch.autocast("cuda", enabled=False):
            return F.layer_norm(tokens, self.normalized_shape, weight, bias, self.eps)

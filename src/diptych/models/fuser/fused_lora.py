"""LoRA in as few passes over the activations as possible: the adapter's product is added to the base layer's result
where that lies, by the matrix product that makes it.

PEFT's layers stay, with their parameters under their names; only how they compute is another.

Shape letters: T tokens, I inputs, O outputs, R rank.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from peft.tuners import lora
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def fuse_lora(model: nn.Module) -> None:
    """Makes the linear layers of the model that have an adapter compute `base(x) + scaling * (x A^T) B^T` with two
    matrix products beside the base layer's and nothing else, in autocast's type, whatever type A and B have.

    What is not that (several adapters, DoRA and other variants, adapters with a bias, merged weights, mixed batches,
    an input of another type than autocast's, or A's without autocast) PEFT computes as it does.
    """
    kinds = (lora.Linear, getattr(lora, "Linear8bitLt", None), getattr(lora, "Linear4bit", None))
    for layer in model.modules():
        if type(layer) in kinds and not getattr(layer, "fan_in_fan_out", False):
            layer.forward = MethodType(_forward, layer)  # not a subclass's: PEFT knows its layers by their class


def _forward(self: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """In place of a LoRA layer's own: (..., O) of `x` (..., I)."""
    base, name, autocast = self.base_layer, _only_adapter(self), torch.is_autocast_enabled(x.device.type)
    dtype = torch.get_autocast_dtype(x.device.type) if autocast else self.lora_A[name].weight.dtype if name else None
    is_plain = type(base) is nn.Linear and not base.weight.requires_grad
    if is_plain and autocast:
        x = x.to(dtype)  # once, for the base layer and the adapter
    if args or kwargs or name is None or x.dtype != dtype:
        self.cast_input_dtype_enabled = not autocast  # which would turn it back at once
        result: Tensor = type(self).forward(self, x, *args, **kwargs)
        return result
    a, b, dropout, scaling = self.lora_A[name], self.lora_B[name], self.lora_dropout[name], self.scaling[name]
    if not torch.is_grad_enabled():  # of weights of `linear`, autocast keeps what it casts for the tokens to come
        summed: Tensor = base(x).add_(F.linear(F.linear(dropout(x), a.weight), b.weight), alpha=scaling)
        return summed
    dropped = dropout(x) if self.training else x
    if is_plain and dropped is x:
        bias = None if base.bias is None else base.bias.to(dtype)
        output: Tensor = _LinearWithLoRA.apply(x, base.weight.to(dtype), bias, a.weight, b.weight, scaling)
    else:
        output = _AddedLoRA.apply(base(x), dropped, a.weight, b.weight, scaling)
    return output


def _only_adapter(layer: Any) -> str | None:
    """The adapter's name, where it is all that the layer adds to its base layer, and nothing but its two matrices."""
    if layer.disable_adapters or layer.merged or len(layer.active_adapters) != 1:
        return None
    (name,) = layer.active_adapters
    is_plain = name in layer.lora_A and name not in layer.lora_variant and layer.lora_B[name].bias is None
    return name if is_plain else None


class _LinearWithLoRA(torch.autograd.Function):
    """A frozen linear layer (weight (O, I)) and its adapter: the adapter's products are added to those of the base
    layer in both passes.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scaling: float
    ) -> Tensor:
        output = F.linear(x, weight, bias)
        reduced = _add_product(output, x, a, b, scaling)
        ctx.save_for_backward(x, weight, reduced, a, b)
        ctx.scaling = scaling
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, reduced, a, b = ctx.saved_tensors
        rows = _rows(gradient)
        of_reduced, of_a, of_b = _gradients(rows, _rows(x), reduced, a, b, ctx.scaling)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = torch.mm(rows, weight).addmm_(of_reduced, a.to(x.dtype)).view_as(x)
        return of_x, None, None, of_a, of_b, None


class _AddedLoRA(torch.autograd.Function):
    """The adapter's product, added to what any base layer gave, where that lies."""

    @staticmethod
    def forward(ctx: Any, result: Tensor, x: Tensor, a: Tensor, b: Tensor, scaling: float) -> Tensor:
        output = result.detach()  # the same memory: a base layer does not need its result for its gradient
        reduced = _add_product(output, x, a, b, scaling)
        ctx.save_for_backward(x, reduced, a, b)
        ctx.scaling = scaling
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, reduced, a, b = ctx.saved_tensors
        of_reduced, of_a, of_b = _gradients(_rows(gradient), _rows(x), reduced, a, b, ctx.scaling)
        of_x = torch.mm(of_reduced, a.to(x.dtype)).view_as(x) if ctx.needs_input_grad[1] else None
        return gradient, of_x, of_a, of_b, None


def _rows(tensor: Tensor) -> Tensor:
    """(..., N) as (T, N)."""
    return tensor.reshape(-1, tensor.shape[-1])


def _add_product(output: Tensor, x: Tensor, a: Tensor, b: Tensor, scaling: float) -> Tensor:
    """Adds to `output`, in its memory, which is in one piece; returns x A^T (T, R)."""
    reduced = torch.mm(_rows(x), a.to(x.dtype).T)
    output.view(-1, output.shape[-1]).addmm_(reduced, b.to(x.dtype).T, alpha=scaling)
    return reduced


def _gradients(
    gradient: Tensor, x: Tensor, reduced: Tensor, a: Tensor, b: Tensor, scaling: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Of `reduced` (T, R), A and B, from that of the product (T, O)."""
    of_reduced = torch.mm(gradient, b.to(gradient.dtype)).mul_(scaling)
    of_b = torch.mm(gradient.T, reduced).to(b.dtype).mul_(scaling)
    return of_reduced, torch.mm(of_reduced.T, x).to(a.dtype), of_b

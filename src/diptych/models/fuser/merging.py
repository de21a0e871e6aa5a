"""An adapter made part of the weights that it was trained beside, and the weights as they were before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from peft.tuners.lora import Linear
from torch import nn

# Of the adapter's product, along itself, that has to get into a layer's weights.
_SURVIVING = 0.98


def merge_adapter(base: nn.Module) -> list[str]:
    """Adds the adapter's products to the weights of the layers that have one: in float32, rounded once to the weights'
    own type. Returns the names of the layers that keep the adapter beside them, since rounding would lose more than 2 %
    of its product.
    """
    left = []
    with torch.no_grad(), torch.autocast(next(base.parameters()).device.type, enabled=False):
        for name, layer in _adapted(base):
            if _survives_rounding(layer):
                layer.merge()
            else:
                left.append(name)
    return left


def restore_weights(base: nn.Module, fresh: nn.Module) -> None:
    """Takes the adapter out again: the weights are those of `fresh`, the same model without one. To subtract would
    round.
    """
    for name, layer in _adapted(base):
        if layer.merged:
            weight = cast(nn.Linear, layer.get_base_layer()).weight
            weight.data.copy_(cast(nn.Linear, fresh.get_submodule(name)).weight)
            layer.merged_adapters.clear()


def _adapted(base: nn.Module) -> Iterator[tuple[str, Linear]]:
    return ((name, module) for name, module in base.named_modules() if isinstance(module, Linear))


def _survives_rounding(layer: Linear) -> bool:
    """Whether the product gets into the weights. In 16 bits they move by whole steps, which a product of less than half
    a step does not bring about: all of it is lost, and not at random.
    """
    weight, product = cast(nn.Linear, layer.get_base_layer()).weight, layer.get_delta_weight("default")
    if weight.dtype == torch.float32:
        return True
    moved = (weight + product).to(weight.dtype).float() - weight
    return bool((moved * product).sum() >= _SURVIVING * product.square().sum())

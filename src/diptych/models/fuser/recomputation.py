"""How many of a decoder's layers are computed again in the backward pass, by the memory there is on a GPU.

What a layer in 16 bits, whose norms and adapters are fused, keeps of a token for its gradients, in the order of its
operators: the first norm its input D; q, k and v their common input D; the norms of q and k, where there are any, their
inputs Q + K; attention its operands and its result 2 Q + 2 K; o nothing more; the second norm its input D; gate and up
their common input D; the activation its input I, the product its factors 2 I, down its input I; each of the seven
adapters R, and with dropout its own copy of its input and a byte of mask. One float32 for each norm and head is left
out. A layer that is computed again keeps its input D alone (Chen et al. 2016, "Training Deep Nets with Sublinear Memory
Cost", section 4).

Shape letters: D width of the model, Q all query heads, K all key heads, I inner width, R rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from peft.tuners.lora import LoraLayer
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

_LINEARS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
_PARTS = {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"}
_SIZE = 2
_USED = 0.92  # of what is free: it lies in pieces
_OF_STEP = 1 << 30  # logits of a chunk of tokens and their gradient, rotations, what cuBLAS asks for


def layers_of(model: nn.Module) -> list[GradientCheckpointingLayer]:
    """The layers of a decoder, in order."""
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


def recompute_first(layers: Sequence[GradientCheckpointingLayer], number: int) -> None:
    """Has the first layers computed again: in the backward pass they come last, when the others have let go of what
    they keep.
    """
    for position, layer in enumerate(layers):
        layer.gradient_checkpointing = position < number


@dataclass(frozen=True)
class LayerWidths:
    """What the formula asks of a decoder's layers, which are all alike."""

    width: int
    queries: int
    keys: int
    inner: int
    has_head_norms: bool
    rank: int
    has_dropout: bool

    @staticmethod
    def of(layer: nn.Module, rank: int, dropout: float) -> LayerWidths | None:
        """None for a layer of other parts than the formula knows."""
        parts = {name.rpartition(".")[2]: part for name, part in layer.named_modules()}
        linears = {name: part for name, part in parts.items() if isinstance(part, LoraLayer)}
        if {name for name, _ in layer.named_children()} != _PARTS or linears.keys() != _LINEARS:
            return None
        query, key, gate = linears["q_proj"], linears["k_proj"], linears["gate_proj"]
        widths = query.in_features, query.out_features, key.out_features, gate.out_features
        return LayerWidths(*widths, "q_norm" in parts, rank, dropout > 0)

    def kept(self) -> int:
        """Bytes of a token that a layer keeps between the passes."""
        numbers = 4 * self.width + 2 * self.queries + 2 * self.keys + 4 * self.inner + len(_LINEARS) * self.rank
        numbers += self.has_head_norms * (self.queries + self.keys)
        dropped = self.has_dropout * (5 * self.width + self.queries + self.inner)
        return _SIZE * numbers + (_SIZE + 1) * dropped

    def saved(self, num_layers: int, recomputed: int) -> int:
        """Bytes of a token that all layers and the last norm keep between the passes."""
        ends = 3 * self.width  # the last norm's input, and its result without and with pads
        return _SIZE * (ends + recomputed * self.width) + (num_layers - recomputed) * self.kept()

    def within(self, quantization: str) -> int:
        """Bytes of a token that are alive beside those within a layer's passes: gradients; int8 has its inputs in
        float16 and int8, and its outputs in int32.
        """
        return _SIZE * 3 * (self.inner + self.width) + (quantization == "int8") * (2 + 1 + 4) * self.inner


def layers_to_recompute(widths: LayerWidths, num_layers: int, tokens: int, free: float, quantization: str) -> int:
    """The fewest that fit into `free` bytes with so many tokens; all, where even that may not fit."""
    matrix = 0 if quantization == "none" else 2 * _SIZE * widths.inner * widths.width  # made of its few bits in a pass
    room = _USED * free - _OF_STEP - matrix - tokens * widths.within(quantization)
    fits = (number for number in range(num_layers) if tokens * widths.saved(num_layers, number) <= room)
    return next(fits, num_layers)

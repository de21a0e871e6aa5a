"""Kernels and memory of single layers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import passes
import torch
from counts import Counts
from tiny_parts import ARCHITECTURE, LENGTH, B, backbone, triplets
from torch._subclasses.fake_tensor import FakeTensorMode

import fake_gpu
from diptych.models.composers.cross_attention_composer import CrossAttentionLayer
from diptych.models.fuser.recomputation import LayerWidths


def kernels_of_a_layer() -> dict[str, Any]:
    """What one more layer in each of CLIP's towers computes on the GPU under autocast, forward and backward."""

    def kernels(layers: int) -> Counter[str]:
        architecture = {**ARCHITECTURE}
        for tower in ("vision_cfg", "text_cfg"):
            architecture[tower] = {**architecture[tower], "layers": layers}
        with FakeTensorMode(allow_non_fake_inputs=True), fake_gpu.watch():
            towers, batch = backbone(architecture).to("cuda"), triplets().to("cuda")
            with Counts() as counts:
                with torch.autocast("cuda", torch.bfloat16):
                    image, text = towers.encode_image(batch.reference), towers.encode_text(batch.text)
                (image.tokens.sum() + text.tokens.sum()).backward()
        return counts.kernels

    more = kernels(2)
    more.subtract(kernels(1))
    return {"kernels": {name: count for name, count in more.items() if count}}


class Norms(Counts):
    """Of layer norms also the types of what they are given, and of their gradients."""

    def clear(self) -> None:
        super().clear()
        self.types: Counter[str] = Counter()

    def count(self, function: Any, name: str, args: tuple, kwargs: dict, result: Any, moved: int) -> None:
        super().count(function, name, args, kwargs, result, moved)
        if "layer_norm" in name:
            self.types[f"{name} {args[0].dtype}"] += 1


def norms_of_the_composer() -> dict[str, Any]:
    """Of a layer that is given what the towers return under autocast."""
    with FakeTensorMode(allow_non_fake_inputs=True), fake_gpu.watch():
        layer = CrossAttentionLayer(128, 64, 2, 4.0, 0.0).to("cuda")
        patches, words = (
            torch.zeros(B, *shape, dtype=torch.bfloat16, device="cuda", requires_grad=True)
            for shape in ((4, 128), (LENGTH, 64))
        )
        mask = torch.ones(B, LENGTH, dtype=torch.bool, device="cuda")
        with Norms() as norms:
            with torch.autocast("cuda", torch.bfloat16):
                hidden, _ = layer(patches, words, mask)
            hidden.sum().backward()
    return {"types": norms.types, "bytes": norms.bytes}


def memory_of_layers() -> dict[str, Any]:
    """What the layers of a Qwen3 of 8B's widths keep between the passes, counted and by the formula."""
    widths = LayerWidths(4096, 4096, 1024, 12288, has_head_norms=True, rank=256, has_dropout=False)
    lengths, found = [2000, 3000, 4000], {}
    for again in (0, 1, 3):
        counted = passes.count(passes.WIDTHS_OF_8B, 3, lengths, recompute=again)["saved"]
        found[again] = counted / (sum(lengths) * widths.saved(3, again))
    return {"counted by formula": found}


def passes_of_a_layer() -> dict[str, Any]:
    """How many kernels a layer more is, computed again or not."""
    kernels = {
        (layers, again): passes.count(passes.NARROW, layers, [40, 60], rank=8, recompute=again * layers)["kernels"]
        for layers in (1, 3)
        for again in (0, 1)
    }
    return {"kernels": [(kernels[3, again] - kernels[1, again]) / 2 for again in (0, 1)]}

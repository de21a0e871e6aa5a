"""Part 7: embedding photos, by precision and model, and ranking a gallery."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from diptych.models.backbones.clip_encoder import CLIPEncoder
from gpu_parts.bench import Report, Setting
from gpu_parts.models import clip_backbone, pictures
from gpu_parts.right_retrieval import grid, ranked, same_ranking

NAME, SECONDS = "evaluation", 25
PRECISIONS = (("bf16", torch.bfloat16, "highest"), ("TF32", torch.float32, "high"), ("fp32", torch.float32, "highest"))
GALLERIES = ((4_000, 20_000, 512), (2_000, 1_000_000, 512))


def run(setting: Setting, report: Report) -> None:
    """Photos a second of three encoders in three precisions; rankings on the GPU and on the CPU."""
    encoders: tuple[tuple[str, Callable[[Setting], Any], int], ...] = (
        ("CLIP ViT-B/32", _clip, 512),
        ("SigLIP so400m-384, pictures", _siglip, 64),
        ("BEiT-3 large-384, pictures", _beit3, 64),
    )
    for name, make, size in encoders:
        with report.attempt(name):
            _embedding(setting, report, name, make, setting.of(size, 2))
    for queries, gallery, width in GALLERIES:
        with report.attempt(f"ranking {queries} x {gallery}"):
            _ranking(setting, report, queries, gallery, width)


@torch.inference_mode()
def _embedding(setting: Setting, report: Report, name: str, make: Callable[[Setting], Any], size: int) -> None:
    embed_of, before = make, torch.get_float32_matmul_precision()
    for precision, dtype, products in PRECISIONS:
        embed, inputs = embed_of(setting)(dtype, size)
        try:
            torch.set_float32_matmul_precision(products)
            timing = setting.time(partial(embed, inputs), repeats=5)
        finally:
            torch.set_float32_matmul_precision(before)
        report.timed(f"{name}, {precision}, {size} at a time", timing, **{"photos/s": timing.rate(size)})


Made = Callable[[torch.dtype, int], tuple[Callable[[Tensor], Tensor], Tensor]]


def _clip(setting: Setting) -> Made:
    def make(dtype: torch.dtype, size: int) -> tuple[Callable[[Tensor], Tensor], Tensor]:
        encoder = CLIPEncoder(clip_backbone(setting)).to(setting.device, dtype).eval()
        return encoder.embed_images, pictures(setting, size, setting.device)

    return make


def _siglip(setting: Setting) -> Made:
    """By its configuration, without texts."""
    from transformers import SiglipVisionConfig, SiglipVisionModel

    full = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16}
    tiny = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2}
    side = setting.of(384, 28)
    config = SiglipVisionConfig(**setting.of(full, tiny), image_size=side, patch_size=14)

    def make(dtype: torch.dtype, size: int) -> tuple[Callable[[Tensor], Tensor], Tensor]:
        setting.needs_values("transformers' first weights")  # drawn until they fit
        with setting.device:
            model = SiglipVisionModel(config).to(dtype).eval()
        pixels = torch.randn(size, 3, side, side, device=setting.device, dtype=dtype)
        return lambda given: model(pixel_values=given).pooler_output, pixels

    return make


def _beit3(setting: Setting) -> Made:
    """By its sizes; texts are there and not asked."""
    from diptych.models.backbones.beit3 import BEiT3
    from diptych.models.backbones.beit3_file import BEiT3Sizes

    sizes = setting.of(BEiT3Sizes(1024, 4096, 24, 16, 16, 24, 1024, 64010), BEiT3Sizes(64, 96, 2, 2, 16, 2, 32, 100))

    def make(dtype: torch.dtype, size: int) -> tuple[Callable[[Tensor], Tensor], Tensor]:
        with setting.device:
            model = BEiT3(sizes).to(dtype).eval()
        for parameter in model.parameters():
            parameter.detach().normal_(std=0.02)
        side = sizes.patch_size * sizes.grid
        return model.encode_image, torch.randn(size, 3, side, side, device=setting.device, dtype=dtype)

    return make


def _ranking(setting: Setting, report: Report, queries: int, gallery: int, width: int) -> None:
    """On the device and on the CPU; both have to give the same."""
    left, right = grid(setting, queries, gallery, width)
    there = left.to(setting.device), right.to(setting.device)
    ranked(*there)
    milliseconds = setting.wall(lambda: ranked(*there))
    start = time.perf_counter()
    expected = ranked(left, right)
    on_host = (time.perf_counter() - start) * 1e3
    report.row(f"ranking {len(left)} x {len(right)} x {width}", ms=milliseconds, **{"ms on the CPU": on_host})
    name = f"ranking {len(left)} x {len(right)} = the CPU's"
    report.must_be(name, lambda: same_ranking(ranked(*there), expected))

"""Models with random weights, and batches for them, in the sizes of the published recipes or tiny."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from diptych.contracts.models import TextTokens
from diptych.contracts.news import FusionBatch
from diptych.contracts.retrieval import TripletBatch
from diptych.losses.info_nce import InfoNCE
from diptych.models.backbones.clip import CLIPBackbone, CLIPPreprocessing
from diptych.models.composers.composed_model import ComposedModel
from diptych.models.composers.cross_attention_composer import CrossAttentionComposer
from diptych.systems.cir import CIRSystem
from gpu_parts.bench import Setting

TINY_CLIP = {
    "embed_dim": 64,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "patch_size": 32, "width": 128, "layers": 1, "head_width": 64},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}
START, END = 49406, 49407  # of a text in CLIP's vocabulary
LONGEST_TEXT = 40
ADAMW: Callable[..., Optimizer] = partial(torch.optim.AdamW, lr=1e-5, weight_decay=1e-2, fused=True)


# ------------------------------------------------------------------------------------------------ retrieval


def clip_backbone(setting: Setting) -> CLIPBackbone:
    """ViT-B/32 at 224 pixels."""
    if setting.tiny:
        preprocessing = CLIPPreprocessing("tiny", architecture=TINY_CLIP)
        return CLIPBackbone("tiny", preprocessing, architecture=TINY_CLIP)
    return CLIPBackbone("ViT-B-32", CLIPPreprocessing("ViT-B-32", "openai"), "openai")


def cir_model(setting: Setting, dropout: float = 0.0) -> ComposedModel:
    """The default composer over it; nothing of it is zero, so that everything has a gradient."""
    torch.manual_seed(0)
    model = CrossAttentionComposer(clip_backbone(setting), num_layers=setting.of(4, 1), dropout=dropout)
    with torch.no_grad():
        for parameter in (model.projection.weight, model.projection.bias):
            parameter.normal_(std=0.02)
    return model


def cir_system(setting: Setting, micro_batch_size: int | None = None, dropout: float = 0.0) -> CIRSystem:
    """Model, loss and optimizer as the experiments have them."""
    return CIRSystem(cir_model(setting, dropout), InfoNCE(learned=True), {}, ADAMW, None, micro_batch_size)


def pictures(setting: Setting, count: int, device: torch.device) -> Tensor:
    """uint8 pixels (N, 3, S, S): coarse colours with noise on them, so that their embeddings differ."""
    size = setting.of(224, 64)
    coarse = F.interpolate(torch.rand(count, 3, 4, 4, device=device), size=(size, size))
    return (coarse * 205 + torch.rand(count, 3, size, size, device=device) * 50).to(torch.uint8)


def triplets(
    setting: Setting, size: int, number: int = 0, length: int | None = None, device: torch.device | None = None
) -> TripletBatch:
    """Batch `number`; the second reference is the first one's picture, and the last two targets are one. Its longest
    text has `length` tokens.
    """
    device = setting.device if device is None else device
    longest = length or LONGEST_TEXT
    draws = random.Random(number)
    torch.manual_seed(number)
    reference, target = (pictures(setting, size, device) for _ in range(2))
    reference[1], target[-1] = reference[0], target[-2]
    with setting.host():
        lengths = torch.tensor([longest, *(draws.randint(4, longest) for _ in range(size - 1))])
        place = torch.arange(longest)
        mask = place < lengths[:, None]
        ids = torch.randint(1, START, (size, longest)).masked_fill(~mask, 0)
        ids[:, 0] = START
        ids[torch.arange(size), lengths - 1] = END
        keys = torch.tensor([0, *range(size - 1)]), torch.tensor([*range(size, 2 * size - 1), 2 * size - 2])
    text = TextTokens(ids.to(device), mask.to(device))
    return TripletBatch(tuple(map(str, range(size))), reference, target, text, *keys)


# ------------------------------------------------------------------------------------------------ captions


def qwen(
    setting: Setting, layers: int, dtype: torch.dtype = torch.bfloat16, vocabulary: int = 151936, tiny: bool = False
) -> Any:
    """Qwen3-8B by its configuration, with so many of its 36 layers, drawn on the device; `tiny` whatever the setting
    says.
    """
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from diptych.models.fuser.example_attention import EXAMPLE_ATTENTION

    sizes = {"hidden_size": 4096, "intermediate_size": 12288, "num_attention_heads": 32, "num_key_value_heads": 8}
    sizes |= {"head_dim": 128, "num_hidden_layers": layers, "vocab_size": vocabulary}
    if setting.tiny or tiny:
        sizes = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2}
        sizes |= {"head_dim": 16, "num_hidden_layers": 2, "vocab_size": min(vocabulary, 512)}
    config = Qwen3Config(**sizes, max_position_embeddings=40960, tie_word_embeddings=False)
    config._attn_implementation = EXAMPLE_ATTENTION
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(dtype)
        with setting.device:
            return Qwen3ForCausalLM(config)
    finally:
        torch.set_default_dtype(before)


def packed(setting: Setting, tokens: int, number: int, vocabulary: int = 151936) -> FusionBatch:
    """Row `number` of so many tokens, of whole examples of 2,000 to 3,600 (tiny: 20 to 36) and what is left; the last
    eighth of each is predicted. No two rows have the same lengths.
    """
    draws, unit = random.Random(number), setting.of(100, 1)
    lengths: list[int] = []
    while (left := tokens - sum(lengths)) > 0:
        length = draws.randint(20 * unit, 36 * unit)
        lengths.append(left if left < 20 * unit or length > left else length)
    torch.manual_seed(number)
    vocabulary = setting.of(vocabulary, min(vocabulary, 512))
    with setting.host():
        ids = torch.randint(vocabulary, (1, tokens))
        positions = torch.cat([torch.arange(length) for length in lengths])[None]
        segments = torch.cat([torch.full((length,), place + 1) for place, length in enumerate(lengths)])[None]
        is_prompt = torch.cat([torch.arange(length) < length - max(1, length // 8) for length in lengths])[None]
        labels = ids.masked_fill(is_prompt, -100)
    names = tuple(str(place) for place in range(len(lengths)))
    return FusionBatch(names, ids, positions, labels, segments).to(setting.device)


def fuser_flops(config: Any, rank: int, lengths: list[int], labelled: int) -> float:
    """Floating-point operations of forward and backward of one row, computed: the frozen weights twice each way, the
    adapter's three times, causal attention, and the logits of labelled tokens. Recomputation is not counted: it is
    no progress.
    """
    width, inner, head = config.hidden_size, config.intermediate_size, config.head_dim
    queries, keys = config.num_attention_heads * head, config.num_key_value_heads * head
    shapes = [(width, queries), (width, keys), (width, keys), (queries, width)]
    shapes += [(width, inner), (width, inner), (inner, width)]
    frozen = sum(rows * columns for rows, columns in shapes)
    adapter = rank * sum(rows + columns for rows, columns in shapes)
    per_layer = sum(lengths) * (4 * frozen + 6 * adapter) + sum(6 * length**2 * queries for length in lengths)
    return float(config.num_hidden_layers * per_layer + 4 * labelled * width * config.vocab_size)


def example_lengths(batch: FusionBatch) -> list[int]:
    """Of a row that `packed` made."""
    return torch.bincount(batch.segments.flatten())[1:].tolist()

"""Tiny systems and batches."""

from __future__ import annotations

from functools import partial
from typing import Any

import passes
import torch

from diptych.contracts.models import TextTokens
from diptych.contracts.news import FusionBatch
from diptych.contracts.retrieval import TripletBatch
from diptych.losses.causal_lm import ChunkedCausalLMLoss
from diptych.losses.info_nce import InfoNCE
from diptych.models.backbones.clip import CLIPBackbone, CLIPPreprocessing
from diptych.models.composers.cross_attention_composer import CrossAttentionComposer
from diptych.systems.caption_fuser import CaptionFuserSystem
from diptych.systems.cir import CIRSystem
from diptych.systems.muon import MuonWithAdamW

B, LENGTH = 8, 12
ARCHITECTURE = {
    "embed_dim": 64,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "patch_size": 32, "width": 128, "layers": 2, "head_width": 64},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
ADAMW = partial(torch.optim.AdamW, fused=True)
MUON = partial(MuonWithAdamW, lr=0.02, adamw_lr=1e-3, weight_decay=0.1, momentum=0.95, betas=(0.9, 0.98))


def backbone(architecture: dict[str, Any] = ARCHITECTURE, recomputed: bool = False) -> CLIPBackbone:
    preprocessing = CLIPPreprocessing("tiny", architecture=architecture)
    return CLIPBackbone("tiny", preprocessing, architecture=architecture, activation_checkpointing=recomputed)


def retrieval_system(
    micro_batch_size: int | None, dropout: float = 0.0, optimizer: Any = ADAMW, recomputed: bool = False
) -> CIRSystem:
    model = CrossAttentionComposer(backbone(recomputed=recomputed), num_layers=2, dropout=dropout)
    return CIRSystem(model, InfoNCE(learned=True, reference_negatives=True), {}, optimizer, None, micro_batch_size)


def words() -> TextTokens:
    return TextTokens(torch.zeros(B, LENGTH, dtype=torch.long), torch.ones(B, LENGTH, dtype=torch.bool))


def triplets() -> TripletBatch:
    """Eight triplets, in which the first picture occurs twice."""
    pictures = [torch.zeros(B, 3, 64, 64, dtype=torch.uint8) for _ in range(2)]
    return TripletBatch(tuple(map(str, range(B))), *pictures, words(), *KEYS)


def fuser_system() -> CaptionFuserSystem:
    """A tiny Qwen3 with an adapter on all its linear layers."""
    fuser = passes.fuser_of(passes.NARROW, 2, rank=4)
    fuser.check_gradients = lambda: None  # asks for values
    return CaptionFuserSystem(fuser, ChunkedCausalLMLoss(16), None, {}, ADAMW)


def fusion_batch() -> FusionBatch:
    """Two rows of packed examples with pads; only lengths matter."""
    segments = torch.tensor([[1] * 20 + [2] * 30 + [0] * 14, [1] * 64])
    numbers = torch.arange(64).expand(2, -1)
    return FusionBatch(("a", "b", "c"), numbers, numbers, numbers, segments)


# Real ones, as a loader brings them: the host decides by them.
KEYS = torch.tensor([0, *range(B - 1)]), torch.arange(B) + B
FUSION = fusion_batch()

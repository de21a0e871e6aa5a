"""What a training with the released good4cir code leaves, made tiny: transformers' towers, the fusion, a checkpoint."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, CLIPVisionConfig, CLIPVisionModel

from diptych.models.composers.good4cir import Good4CIRFusion

UNWRITTEN = ["vision_heads=2", "text_heads=1", "activation=quick_gelu"]  # no weight tells them


def make_tokenizer(folder: Path) -> CLIPTokenizer:
    """transformers' tokenizer, read from files as those that OpenAI's CLIP is published with."""
    own = SimpleTokenizer()
    names = {own.sot_token_id: "<|startoftext|>", own.eot_token_id: "<|endoftext|>"}
    vocabulary = {names.get(number, token): number for token, number in own.encoder.items()}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    merges = ["#version: 0.2", *(" ".join(pair) for pair in own.bpe_ranks)]
    (folder / "merges.txt").write_text("\n".join(merges))
    return CLIPTokenizer.from_pretrained(folder)


class Towers(nn.Module):
    """Vision 32 wide with patches of 8 in 16 pixels, text 16 wide; all weights random, biases and norms too."""

    def __init__(self, seed: int = 0, hidden_act: str = "quick_gelu") -> None:
        super().__init__()
        torch.manual_seed(seed)
        vision: dict[str, int] = {"hidden_size": 32, "intermediate_size": 64, "image_size": 16, "patch_size": 8}
        text: dict[str, int] = {"hidden_size": 16, "intermediate_size": 48, "vocab_size": 49408}
        self.vision = CLIPVisionModel(
            CLIPVisionConfig(num_attention_heads=2, num_hidden_layers=2, hidden_act=hidden_act, **vision)
        )
        self.text = CLIPTextModel(
            CLIPTextConfig(num_attention_heads=1, num_hidden_layers=3, hidden_act=hidden_act, **text)
        )
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
        self.eval()

    @torch.inference_mode()
    def vision_features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Of normalised pixels all tokens, as the release reads them, and the pooled output, its target embedding."""
        output = self.vision(pixel_values=pixels)
        return output.last_hidden_state, output.pooler_output

    @torch.inference_mode()
    def text_features(self, tokenizer: CLIPTokenizer, texts: Sequence[str]) -> Tensor:
        """The features of all 77 tokens, as the release reads them."""
        tokens = tokenizer(list(texts), padding="max_length", max_length=77, truncation=True, return_tensors="pt")
        return self.text(**tokens).last_hidden_state


class Release(nn.Module):
    """The released model's parts under its names."""

    def __init__(self, towers: Towers, num_layers: int = 3, num_heads: int = 4) -> None:
        super().__init__()
        self.text_encoder, self.vision_encoder = nn.Module(), nn.Module()
        self.text_encoder.model, self.vision_encoder.model = towers.text, towers.vision
        fusion = Good4CIRFusion(32, 16, num_heads, num_layers)
        self.cross_attn_layers, self.attn_pooler = fusion.cross_attn_layers, fusion.attn_pooler
        with torch.no_grad():
            for layer in (*self.cross_attn_layers, self.attn_pooler.attention):
                layer.scale.fill_(1.0)  # so that which word is attended to shows in the query


def write_checkpoint(path: Path, state: dict[str, Tensor], **others: object) -> Path:
    """As Lightning writes one, with the settings that the release saves beside the weights."""
    settings = {"args": argparse.Namespace(backbone_size="B", learning_rate=1e-5), "heads": 4, "temperature": 0.07}
    torch.save({"epoch": 1, "global_step": 9, "hyper_parameters": settings, "state_dict": state, **others}, path)
    return path

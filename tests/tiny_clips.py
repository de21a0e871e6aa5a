"""Random models of the libraries' own classes, small enough for a test, as the libraries save them."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import torch
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

SIDE = 32
SIZES = {"hidden_size": 32, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2}
ARCHITECTURE = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": SIDE, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}
PICTURES = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bilinear", "resize_mode": "squash"}


def stirred(model: torch.nn.Module) -> torch.nn.Module:
    """The model with every number changed by chance, biases and norms too, so that none can be left out unseen."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def save_transformers_clip(folder: Path, activation: str = "quick_gelu") -> CLIPModel:
    """A CLIPModel with its image processor, as `save_pretrained` leaves both."""
    torch.manual_seed(0)
    acting = SIZES | {"hidden_act": activation}
    config = CLIPConfig(
        vision_config=acting | {"image_size": SIDE, "patch_size": 16}, text_config=acting, projection_dim=16
    )
    model = stirred(CLIPModel(config))
    model.save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=SIDE).save_pretrained(folder)
    return model


def save_open_clip(folder: Path, described: bool = True, quick_gelu: bool = True) -> open_clip.CLIP:
    """A model of open_clip's as its training leaves it (`epoch_1.pt`), or as a hub has it, described."""
    torch.manual_seed(0)
    model = stirred(open_clip.CLIP(**ARCHITECTURE, quick_gelu=quick_gelu))
    folder.mkdir(parents=True, exist_ok=True)
    if described:
        torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
        content = {"model_cfg": {**ARCHITECTURE, "quick_gelu": quick_gelu}, "preprocess_cfg": PICTURES}
        (folder / "open_clip_config.json").write_text(json.dumps(content))
    else:
        weights = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
        torch.save({"epoch": 1, "name": "mine", "state_dict": weights, "optimizer": {}}, folder / "epoch_1.pt")
    return model

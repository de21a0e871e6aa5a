"""Models of open_clip's registry, and of architectures given in full, built without weights."""

from __future__ import annotations

import re
from typing import Any

import open_clip
from open_clip.timm_model import TimmModel
from open_clip.transformer import TextTransformer, VisionTransformer
from torch import nn

_PLAIN_NAME = re.compile(r"[\w.+-]+")


def registered(name: str) -> dict[str, Any]:
    """The configuration of an open_clip model; ValueError when there is none of this name."""
    # No schema, as `local-dir:FOLDER`: what lies there may name a tokenizer with code of its own.
    config = open_clip.get_model_config(name) if _PLAIN_NAME.fullmatch(name) else None
    if config is None:
        raise ValueError(f"name={name!r} is not an open_clip model; open_clip.list_models() lists them")
    return config


def build(name: str, architecture: dict[str, Any] | None, quick_gelu: bool) -> open_clip.CustomTextCLIP:
    """The model with random weights; ValueError unless it has patch tokens and open_clip's own text tower."""
    config = {**(architecture or registered(name)), "quick_gelu": quick_gelu}
    config.pop("custom_text", None)
    for part in ("hf_model_name", "multimodal_cfg"):
        if part in config or part in config["text_cfg"]:
            raise ValueError(f"name={name!r} needs {part}: only open_clip's own text transformers are supported")
    tower = config["vision_cfg"].get("timm_model_name")
    if tower is not None:
        if not _PLAIN_NAME.fullmatch(str(tower)):
            raise ValueError(f"vision_cfg.timm_model_name={tower!r} is not a name of timm's own models")
        config["vision_cfg"] = {**config["vision_cfg"], "timm_model_pretrained": False}  # weights come by themselves
    model = open_clip.CustomTextCLIP(**config)
    if config["embed_dim"] == 0:  # open_clip leaves the text's projection out, and makes the image's 0 wide
        model.visual.proj = None
    if not _has_patch_tokens(model.visual):
        raise ValueError(f"name={name!r} has no patch tokens; choose a ViT, for example ViT-B-32")
    if not isinstance(model.text, TextTransformer) or model.text.cls_emb is not None:
        raise ValueError(f"name={name!r}: its text tower is not supported; choose a CLIP or SigLIP model")
    return model


def _has_patch_tokens(visual: nn.Module) -> bool:
    if isinstance(visual, TimmModel):  # ConvNeXt, Swin and the like have no sequence of tokens
        return hasattr(visual.trunk, "num_prefix_tokens")
    return isinstance(visual, VisionTransformer) and visual.attn_pool is None

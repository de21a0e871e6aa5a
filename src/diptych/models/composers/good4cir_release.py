"""Checkpoints of trainings with the released good4cir code (SLUVisLab/good4cir, `evalsrc/Models.py`, 7087237).

They are PyTorch Lightning's: `text_encoder.model.` and `vision_encoder.model.` hold transformers' CLIPTextModel and
CLIPVisionModel, `cross_attn_layers.` and `attn_pooler.` the fusion.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diptych.models.backbones import transformers_clip
from diptych.models.composers.good4cir import Good4CIRFusion

_VOCABULARY = 49408  # CLIP's

# Newer transformers leave `text_model.` and `vision_model.` out.
_TOWERS = {"vision": "vision_encoder.model.", "text": "text_encoder.model."}
_OPTIONAL = re.compile(r"^((?:vision|text)_encoder\.model\.)(?:vision|text)_model\.")
_WRAPPED = re.compile(r"(^|\.)(?:_orig_mod|_forward_module|module)\.")  # torch.compile, DeepSpeed, DDP


@dataclass(frozen=True)
class Unwritten:
    """What no weight tells: the heads of both towers and of the fusion, and the towers' activation, `quick_gelu` (as
    OpenAI's weights have) or `gelu`. None is what the release took.
    """

    vision_heads: int | None = None
    text_heads: int | None = None
    activation: str | None = None
    heads: int | None = None


# Of the three CLIPs that the release can begin from, by the image tower's width and the side of a patch: heads of the
# towers and activation, from the configs of openai/clip-vit-base-patch32, openai/clip-vit-large-patch14 and
# laion/CLIP-ViT-H-14-laion2B-s32B-b79K.
_KNOWN = {(768, 32): (12, 8, "quick_gelu"), (1024, 14): (16, 12, "quick_gelu"), (1280, 14): (16, 16, "gelu")}
_HEADS = 8  # of the fusion, the release's default


@dataclass(frozen=True)
class ReleasedModel:
    """`architecture` of its CLIP as open_clip says it, the fusion's layers and heads, and all weights under the names
    of `Good4CIRComposer`.
    """

    architecture: dict[str, Any]
    num_layers: int
    num_heads: int
    weights: dict[str, Tensor]


def read_release(path: Path, unwritten: Unwritten) -> ReleasedModel:
    """The model in a checkpoint, read without running code.

    Raises:
        ValueError: it is missing, damaged or holds code; tensors are missing, unknown or of other shapes (names them);
            or something is not known that no weight tells.
    """
    checkpoint = _load(path)
    parts = _parts(checkpoint["state_dict"])
    _check(path, parts)
    vision, text = parts["vision"], parts["text"]
    if len(text["embeddings.token_embedding.weight"]) != _VOCABULARY:
        raise ValueError(f"{path}: its text tower has not CLIP's vocabulary of {_VOCABULARY} tokens")
    vision_heads, text_heads, activation = _of_towers(path, vision, text, unwritten)
    architecture = transformers_clip.open_clip_config(
        vision, text, vision_heads, text_heads, quick_gelu=activation == "quick_gelu"
    )
    saved = checkpoint.get("hyper_parameters")
    num_heads = unwritten.heads or (saved.get("heads") if isinstance(saved, dict) else None) or _HEADS
    width = architecture["vision_cfg"]["width"]
    if width % num_heads:
        raise ValueError(f"heads={num_heads} does not divide the image tower's width {width}")
    clip = transformers_clip.open_clip_weights(vision, text)
    weights = {f"backbone.clip.{name}": tensor for name, tensor in clip.items()}
    weights |= {f"fusion.{name}": tensor.float() for name, tensor in parts["fusion"].items()}
    return ReleasedModel(architecture, _num_layers(parts["fusion"]), num_heads, weights)


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # the release's settings, among the weights
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler, the zip reader and torch each raise their own kinds
        raise ValueError(
            f"{path}: not a readable checkpoint; it may be truncated, or hold code that is not run. Of a file that you "
            "trust, the weights alone can be read: torch.save({'state_dict': torch.load(FILE, weights_only=False)"
            f"['state_dict']}}, NEW): {error}"
        ) from error
    state = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise ValueError(f"{path}: no checkpoint of PyTorch Lightning (it has no tensors in 'state_dict')")
    return checkpoint


def _parts(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The tensors of `vision`, `text` and `fusion` under the names that each part gives them."""
    parts: dict[str, dict[str, Tensor]] = {"vision": {}, "text": {}, "fusion": {}}
    for name, tensor in state.items():
        plain = _OPTIONAL.sub(r"\1", _WRAPPED.sub(r"\1", name))
        if transformers_clip.is_no_weight(plain):
            continue
        part = next((part for part, prefix in _TOWERS.items() if plain.startswith(prefix)), "fusion")
        parts[part][plain.removeprefix(_TOWERS.get(part, ""))] = tensor
    return parts


def _check(path: Path, parts: Mapping[str, Mapping[str, Tensor]]) -> None:
    """ValueError unless every part is whole, and holds nothing else."""
    found = {_TOWERS.get(part, "") + name: tuple(t.shape) for part, own in parts.items() for name, t in own.items()}
    expected: dict[str, transformers_clip.Shape] = {}
    for part, prefix in _TOWERS.items():
        try:
            shapes = transformers_clip.expected_shapes(parts[part])
        except KeyError as error:
            raise ValueError(f"{path}: no released good4cir model; it lacks {prefix}{error.args[0]}") from None
        expected |= {prefix + name: shape for name, shape in shapes.items()}
    vision_dim, text_dim = (parts[part]["embeddings.position_embedding.weight"].shape[1] for part in ("vision", "text"))
    with torch.device("meta"):
        fusion = Good4CIRFusion(vision_dim, text_dim, num_heads=1, num_layers=_num_layers(parts["fusion"]))
    expected |= {name: tuple(tensor.shape) for name, tensor in fusion.state_dict().items()}
    if faults := transformers_clip.differences(found, expected):
        raise ValueError(f"{path}: no released good4cir model; {faults}")


def _num_layers(fusion: Mapping[str, Tensor]) -> int:
    numbers = [int(name.split(".")[1]) for name in fusion if re.match(r"cross_attn_layers\.\d+\.", name)]
    return 1 + max(numbers, default=0)  # without any, those of the first one are missing


def _of_towers(
    path: Path, vision: Mapping[str, Tensor], text: Mapping[str, Tensor], given: Unwritten
) -> tuple[int, int, str]:
    width, _, _, patch = vision["embeddings.patch_embedding.weight"].shape
    known = _KNOWN.get((width, patch), (None, None, None))
    vision_heads = given.vision_heads or known[0]
    text_heads = given.text_heads or known[1]
    activation = given.activation or known[2]
    if vision_heads is None or text_heads is None or activation is None:
        text_width = text["embeddings.position_embedding.weight"].shape[1]
        raise ValueError(
            f"{path}: its CLIP, {width} and {text_width} wide with patches of {patch}, is none of the release's, and "
            "no weight tells its heads and activation: say vision_heads=, text_heads= (a head is mostly 64 wide) and "
            "activation=quick_gelu or gelu"
        )
    return vision_heads, text_heads, activation

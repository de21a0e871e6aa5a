"""transformers' CLIP (`CLIPModel`, or its towers alone) under open_clip's names, its sizes from the tensors.

Heads and the activation leave no trace in the weights: they must be known.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from open_clip.factory import load_state_dict
from torch import Tensor, nn

Shape = tuple[int, ...]

_VISION = {
    "embeddings.class_embedding": "class_embedding",
    "embeddings.patch_embedding.weight": "conv1.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "pre_layrnorm.weight": "ln_pre.weight",  # spelt so
    "pre_layrnorm.bias": "ln_pre.bias",
    "post_layernorm.weight": "ln_post.weight",
    "post_layernorm.bias": "ln_post.bias",
}
_TEXT = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_FUSED = tuple(f"self_attn.{part}_proj" for part in "qkv")  # one matrix in open_clip
_TOWERS = {"vision": "vision_model.", "text": "text_model."}  # of a whole model
_PROJECTIONS = {"vision": "visual_projection.weight", "text": "text_projection.weight"}
_SCALE = "logit_scale"
_SHOWN = 4
_LAYER_NUMBER = re.compile(r"encoder\.layers\.(\d+)\.")


def expected_shapes(tower: Mapping[str, Tensor]) -> dict[str, Shape]:
    """The names and shapes of a whole tower, for vision or text, of the sizes that its first tensors have.

    Raises:
        KeyError: a tensor is missing that the sizes are read from.
    """
    num_positions, width = tower["embeddings.position_embedding.weight"].shape
    hidden = len(tower["encoder.layers.0.mlp.fc1.weight"])
    shapes: dict[str, Shape] = {"embeddings.position_embedding.weight": (num_positions, width)}
    if is_vision(tower):
        patch = tower["embeddings.patch_embedding.weight"].shape[-1]
        shapes["embeddings.class_embedding"] = (width,)
        shapes["embeddings.patch_embedding.weight"] = (width, 3, patch, patch)
        norms = ["pre_layrnorm", "post_layernorm"]
    else:
        shapes["embeddings.token_embedding.weight"] = (len(tower["embeddings.token_embedding.weight"]), width)
        norms = ["final_layer_norm"]
    for number in range(num_layers(tower)):
        layer = f"encoder.layers.{number}"
        norms += [f"{layer}.layer_norm1", f"{layer}.layer_norm2"]
        for name in (*_FUSED, "self_attn.out_proj"):
            shapes |= {f"{layer}.{name}.weight": (width, width), f"{layer}.{name}.bias": (width,)}
        shapes |= {f"{layer}.mlp.fc1.weight": (hidden, width), f"{layer}.mlp.fc1.bias": (hidden,)}
        shapes |= {f"{layer}.mlp.fc2.weight": (width, hidden), f"{layer}.mlp.fc2.bias": (width,)}
    return shapes | {f"{norm}.{part}": (width,) for norm in norms for part in ("weight", "bias")}


def is_vision(tower: Mapping[str, Tensor]) -> bool:
    """Whether it is the tower of pictures."""
    return "embeddings.patch_embedding.weight" in tower


def num_layers(tower: Mapping[str, Tensor]) -> int:
    """How many layers have tensors."""
    return 1 + max((int(found[1]) for name in tower if (found := _LAYER_NUMBER.match(name))), default=-1)


def open_clip_config(
    vision: Mapping[str, Tensor], text: Mapping[str, Tensor], vision_heads: int, text_heads: int, quick_gelu: bool
) -> dict[str, Any]:
    """The open_clip model configuration of two whole towers, without projections into a shared space (`embed_dim: 0`).

    Raises:
        ValueError: heads do not divide a width, or the patches make no square.
    """
    for name, heads, tower in (("vision_heads", vision_heads, vision), ("text_heads", text_heads, text)):
        width = tower["embeddings.position_embedding.weight"].shape[1]
        if width % heads:
            raise ValueError(f"{name}={heads} does not divide the width {width}")
    num_patches, width = vision["embeddings.position_embedding.weight"].shape
    side, patch = math.isqrt(num_patches - 1), vision["embeddings.patch_embedding.weight"].shape[-1]
    if side**2 != num_patches - 1:
        raise ValueError(f"embeddings.position_embedding.weight has {num_patches} rows: no class token and square")
    context_length, text_width = text["embeddings.position_embedding.weight"].shape
    return {
        "embed_dim": 0,
        "quick_gelu": quick_gelu,
        "vision_cfg": {
            "image_size": side * patch,
            "patch_size": patch,
            "width": width,
            "layers": num_layers(vision),
            "head_width": width // vision_heads,
            "mlp_ratio": len(vision["encoder.layers.0.mlp.fc1.weight"]) / width,
        },
        "text_cfg": {
            "context_length": context_length,
            "vocab_size": len(text["embeddings.token_embedding.weight"]),
            "width": text_width,
            "heads": text_heads,
            "layers": num_layers(text),
            "mlp_ratio": len(text["encoder.layers.0.mlp.fc1.weight"]) / text_width,
        },
    }


def open_clip_weights(vision: Mapping[str, Tensor], text: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of two whole towers under open_clip's names, in float32: `visual.`, `text.`."""
    return {
        **{f"visual.{name}": tensor for name, tensor in _renamed(vision, _VISION).items()},
        **{f"text.{name}": tensor for name, tensor in _renamed(text, _TEXT).items()},
    }


def _renamed(tower: Mapping[str, Tensor], top: Mapping[str, str]) -> dict[str, Tensor]:
    new = {theirs: tower[ours].float() for ours, theirs in top.items()}
    for number in range(num_layers(tower)):
        old, layer = f"encoder.layers.{number}", f"transformer.resblocks.{number}"
        for part in ("weight", "bias"):
            fused = [tower[f"{old}.{name}.{part}"].float() for name in _FUSED]
            new[f"{layer}.attn.in_proj_{part}"] = torch.cat(fused)
            new |= {
                f"{layer}.{theirs}.{part}": tower[f"{old}.{ours}.{part}"].float() for ours, theirs in _LAYER.items()
            }
    return new


def load_transformers(model: nn.Module, path: Path) -> bool:
    """Loads a file into open_clip's `CustomTextCLIP` if its weights have transformers' names; whether they have. Reads
    tensors only, never pickled code.

    Raises:
        ValueError: a file of transformers' names holds something else than a `CLIPModel`.
        RuntimeError: its `CLIPModel` is of other sizes than the model.
    """
    if path.suffix in (".npz", ".npy"):  # of big_vision
        return False
    state = load_state_dict(str(path), weights_only=True)
    if not any(name.startswith(tuple(_TOWERS.values())) for name in state):
        return False
    model.load_state_dict(whole_model(state))
    return True


def whole_model(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a `CLIPModel` under the names of open_clip's `CustomTextCLIP`, in float32.

    Raises:
        ValueError: tensors are missing, unknown or of shapes that do not fit together; names them.
    """
    state = {name: tensor for name, tensor in state.items() if not is_no_weight(name)}
    towers = {
        part: {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
        for part, prefix in _TOWERS.items()
    }
    expected: dict[str, Shape] = {_SCALE: ()}
    for part, tower in towers.items():
        try:
            expected |= {_TOWERS[part] + name: shape for name, shape in expected_shapes(tower).items()}
            width = tower["embeddings.position_embedding.weight"].shape[1]
            expected[_PROJECTIONS[part]] = (len(state[_PROJECTIONS["vision"]]), width)
        except KeyError as error:
            raise ValueError(f"no CLIPModel of transformers; {part} tower or projection: it lacks {error}") from None
    if faults := differences({name: tuple(tensor.shape) for name, tensor in state.items()}, expected):
        raise ValueError(f"no CLIPModel of transformers; {faults}")
    return {
        **open_clip_weights(towers["vision"], towers["text"]),
        "visual.proj": state[_PROJECTIONS["vision"]].float().T,
        "text.text_projection": state[_PROJECTIONS["text"]].float().T,
        _SCALE: state[_SCALE].float(),
    }


def is_no_weight(name: str) -> bool:
    """Whether it is one of the numbered positions that older versions of transformers saved."""
    return name.endswith(".embeddings.position_ids")


def differences(found: Mapping[str, Shape], expected: Mapping[str, Shape]) -> str:
    """Which tensors are missing, unknown or of another shape than expected; empty if none."""
    faults = {
        "missing": [name for name in expected if name not in found],
        "unknown": [name for name in found if name not in expected],
        "of another shape": [
            f"{name} {found[name]}, not {shape}" for name, shape in expected.items() if found.get(name, shape) != shape
        ],
    }
    return "; ".join(f"{what}: {_listed(names)}" for what, names in faults.items() if names)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more

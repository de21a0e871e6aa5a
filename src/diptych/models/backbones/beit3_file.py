"""The file of a BEiT-3 retrieval model: its tensors, and what their shapes say about the model."""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

FIRST_POSITION = 2  # rows 0 and 1 of a position table are never read
_HEAD_DIM = 64  # of the published models
_LAYER = "beit3.encoder.layers."


@dataclass(frozen=True, slots=True)
class BEiT3Sizes:
    """What the tensors of a checkpoint say about the model; `grid` is the side of the trained grid of patches."""

    width: int
    hidden_dim: int
    num_layers: int
    num_heads: int
    patch_size: int
    grid: int
    num_text_positions: int
    vocabulary: int

    @property
    def max_text_length(self) -> int:
        """The most tokens of a text that have a position."""
        return self.num_text_positions - FIRST_POSITION


def read_tensors(path: Path) -> Mapping[str, Tensor]:
    """The tensors by name. ValueError for a file that is absent, damaged, or holds more than tensors."""
    if not path.is_file():
        raise ValueError(f"{path}: there is no such checkpoint file")
    try:
        safe = path.suffix == ".safetensors"
        content: Any = load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path} {_HOW_TO_CONVERT.format(name=path.name, stem=path.stem)}") from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged or no file of tensors ({error}); fetch it again") from error
    for wrapper in ("model", "module"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds a {type(content).__name__}, not tensors by name")
    for key, value in content.items():
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise ValueError(f"{path}: key {key!r} holds no floating-point tensor; this is no BEiT-3 retrieval model")
    return content


_HOW_TO_CONVERT = (
    "holds more than tensors, or is damaged. Reading the rest could run a stranger's code, so it is not read here. If"
    " its sha256 is the publisher's, convert it once, beside it, and name the new file instead:\n"
    '  python -c "import torch, safetensors.torch as s; '
    "c = torch.load('{name}', map_location='cpu', weights_only=False); "
    "s.save_file({{k: v.contiguous() for k, v in c.get('model', c).items()}}, '{stem}.safetensors')\""
)


def number_of_heads(width: int, given: int | None, path: Path) -> int:
    """The given number, or what published models of this width have; ValueError where neither is known or fits."""
    if given is None and width % _HEAD_DIM:
        raise ValueError(
            f"{path}: how many heads a width of {width} has cannot be told, published models have one for each "
            f"{_HEAD_DIM}; give num_heads"
        )
    number = given or width // _HEAD_DIM
    if width % number:
        raise ValueError(f"{path}: a width of {width} has no {number} heads; give another num_heads")
    return number


def read_sizes(state: Mapping[str, Tensor], path: Path) -> BEiT3Sizes:
    """All sizes but the number of heads, on which no shape depends. ValueError for another model's tensors."""

    def shape(key: str, dimensions: int) -> torch.Size:
        if key not in state or state[key].ndim != dimensions:
            found = f"found shape {tuple(state[key].shape)}" if key in state else "it is missing"
            raise ValueError(
                f"{path}: key {key!r} must have {dimensions} dimensions; {found}: no BEiT-3 retrieval model"
            )
        return state[key].shape

    width, _, patch_size, _ = shape("beit3.vision_embed.proj.weight", 4)
    num_patches = shape("beit3.encoder.embed_positions.A.weight", 2)[0] - FIRST_POSITION - 1
    grid = math.isqrt(max(num_patches, 0))
    if grid * grid != num_patches or grid == 0:
        raise ValueError(f"{path}: {num_patches} patch positions are no square grid: no BEiT-3 retrieval model")
    numbers = {key.removeprefix(_LAYER).split(".")[0] for key in state if key.startswith(_LAYER)}
    return BEiT3Sizes(
        width=width,
        hidden_dim=shape(f"{_LAYER}0.ffn.A.fc1.weight", 2)[0],
        num_layers=len(numbers),
        num_heads=1,
        patch_size=patch_size,
        grid=grid,
        num_text_positions=shape("beit3.encoder.embed_positions.B.weight", 2)[0],
        vocabulary=shape("beit3.text_embed.weight", 2)[0],
    )


def check_shapes(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path) -> None:
    """ValueError unless the tensors found are those expected, by name and shape."""
    for problem, keys in (
        ("are missing", [key for key in expected if key not in found]),
        ("belong to no BEiT-3 retrieval model", [key for key in found if key not in expected]),
    ):
        if keys:
            raise ValueError(f"{path}: {len(keys)} keys {problem}: {', '.join(keys[:3])}{', ...' if keys[3:] else ''}")
    for key, tensor in expected.items():
        if tensor.shape != found[key].shape:
            raise ValueError(
                f"{path}: key {key!r} has shape {tuple(found[key].shape)}; by the file's other tensors it should be "
                f"{tuple(tensor.shape)}"
            )

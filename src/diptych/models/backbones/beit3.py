"""BEiT-3 with separate image and text encoders, as fine-tuned for retrieval (Wang et al., CVPR 2023, section 3.2).

One transformer whose every weight exists twice: branch A reads pictures, branch B texts ("multiway"). The layers are
pre-norm with a second norm inside each sublayer (sub-LN; Wang et al., "Foundation Transformers", ICML 2023). Module
names are the published checkpoints' key names.

Shape letters: B batch, P patches, L text tokens, D width, H heads, T tokens of either kind.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

IMAGE, TEXT = "A", "B"
_FIRST_POSITION = 2  # rows 0 and 1 of a position table are never read
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
        return self.num_text_positions - _FIRST_POSITION


class BEiT3(nn.Module):
    """The retrieval model; `from_checkpoint` is the way to get one."""

    def __init__(self, sizes: BEiT3Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        width = sizes.width
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.vision_head = nn.Linear(width, width, bias=False)
        self.language_head = nn.Linear(width, width, bias=False)
        self.beit3 = _Towers(sizes)

    @classmethod
    def from_checkpoint(cls, path: str | Path, num_heads: int | None = None) -> BEiT3:
        """The model of a published `.pth` or of a `.safetensors` file with the same keys: on the CPU, float32, in
        evaluation mode. Only tensors are read, never pickled code.

        Tensors do not tell the number of heads: it is the width / 64, as in the published models, or 4 for a width that
        64 does not divide, unless `num_heads` says otherwise.

        Raises:
            ValueError: the file is absent or damaged, holds more than tensors, or its keys or shapes are not exactly
                those of a retrieval model.
        """
        path = Path(path)
        state = _read_tensors(path)
        sizes = _read_sizes(state, path, num_heads)
        with torch.device("meta"):
            model = cls(sizes)
        _check_shapes(model.state_dict(), state, path)
        model.load_state_dict({key: tensor.float() for key, tensor in state.items()}, assign=True)
        return model.eval().requires_grad_(False)

    def encode_image(self, pixel_values: Tensor) -> Tensor:
        """L2-normalised float32 embeddings (B, D) of normalised pictures (B, 3, height, width).

        Sides are multiples of the patch size; for another number of patches than the trained one the positions are
        interpolated (bicubic, not antialiased). Raises ValueError for any other shape, and for integer pixels.
        """
        patch = self.sizes.patch_size
        shape = tuple(pixel_values.shape)
        if len(shape) != 4 or shape[1] != 3 or shape[2] % patch or shape[3] % patch or 0 in shape[2:]:
            raise ValueError(
                f"pixel_values must be (B, 3, height, width), sides multiples of {patch}; they are {shape}"
            )
        if not pixel_values.is_floating_point():
            raise ValueError(f"pixel_values must be normalised floats; they are {pixel_values.dtype}")
        x = self.beit3.vision_embed(pixel_values)
        x = x + self._image_positions(shape[2] // patch, shape[3] // patch).to(x.dtype)
        return self._encode(x, IMAGE, None, self.vision_head)

    def encode_text(self, input_ids: Tensor, padding_mask: Tensor) -> Tensor:
        """L2-normalised float32 embeddings (B, D) of token ids (B, L) that begin with the start token.

        `padding_mask` (B, L) is 1 or True on padding: the opposite of an attention mask. How much padding there is
        makes no difference.

        Raises:
            ValueError: the shapes differ, a text is longer than the position table, or a first token is padding, as it
                is when the mask is the wrong way round.
        """
        if input_ids.ndim != 2 or input_ids.shape != padding_mask.shape:
            raise ValueError(
                f"input_ids and padding_mask must both be (B, L); they are {tuple(input_ids.shape)} and "
                f"{tuple(padding_mask.shape)}"
            )
        length = input_ids.shape[1]
        if not 0 < length <= self.sizes.max_text_length:
            raise ValueError(f"texts of {length} tokens: this model reads 1 to {self.sizes.max_text_length}")
        padding = padding_mask.bool()
        if padding[:, 0].any():
            raise ValueError(
                "the padding_mask covers the first token of a text: 1 or True stands for padding, not for real tokens"
            )
        positions = self.beit3.encoder.positions(TEXT)[_FIRST_POSITION : _FIRST_POSITION + length]
        x = (self.beit3.text_embed(input_ids) + positions).masked_fill(padding[..., None], 0)
        return self._encode(x, TEXT, ~padding[:, None, None, :], self.language_head)

    def _encode(self, x: Tensor, branch: str, attend: Tensor | None, head: nn.Linear) -> Tensor:
        encoder = self.beit3.encoder
        for layer in encoder.layers:
            x = layer(x, branch, attend)
        return F.normalize(head(encoder.layer_norm[branch](x[:, 0])).float(), dim=-1)

    def _image_positions(self, rows: int, columns: int) -> Tensor:
        """Positions (1 + rows * columns, D) of the class token and the patches."""
        table, grid = self.beit3.encoder.positions(IMAGE), self.sizes.grid
        start, patches = table[_FIRST_POSITION : _FIRST_POSITION + 1], table[_FIRST_POSITION + 1 :]
        if (rows, columns) != (grid, grid):
            square = patches.float().T.reshape(1, -1, grid, grid)
            square = F.interpolate(square, size=(rows, columns), mode="bicubic", align_corners=False)
            patches = square[0].flatten(1).T.to(table.dtype)
        return torch.cat([start, patches])


class _Towers(nn.Module):
    def __init__(self, sizes: BEiT3Sizes) -> None:
        super().__init__()
        self.text_embed = nn.Embedding(sizes.vocabulary, sizes.width)
        self.vision_embed = _VisionEmbedding(sizes.width, sizes.patch_size)
        self.encoder = _Encoder(sizes)


class _VisionEmbedding(nn.Module):
    def __init__(self, width: int, patch_size: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))  # of the pre-training; in the files, never used here
        self.proj = nn.Conv2d(3, width, patch_size, patch_size)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, 1 + P, D): the class token, then the patches row by row."""
        patches = self.proj(pixel_values).flatten(2).transpose(1, 2)
        return torch.cat([self.cls_token.to(patches.dtype).expand(len(patches), -1, -1), patches], dim=1)


class _Encoder(nn.Module):
    def __init__(self, sizes: BEiT3Sizes) -> None:
        super().__init__()
        num_image_positions = _FIRST_POSITION + 1 + sizes.grid**2
        self.embed_positions = nn.ModuleDict(
            {
                IMAGE: nn.Embedding(num_image_positions, sizes.width),
                TEXT: nn.Embedding(sizes.num_text_positions, sizes.width),
            }
        )
        self.layers = nn.ModuleList([_Layer(sizes) for _ in range(sizes.num_layers)])
        self.layer_norm = _twice(lambda: nn.LayerNorm(sizes.width))

    def positions(self, branch: str) -> Tensor:
        """The branch's position table, its first two rows included."""
        return self.embed_positions[branch].get_parameter("weight")


class _Layer(nn.Module):
    def __init__(self, sizes: BEiT3Sizes) -> None:
        super().__init__()
        self.self_attn = _SelfAttention(sizes.width, sizes.num_heads)
        self.self_attn_layer_norm = _twice(lambda: nn.LayerNorm(sizes.width))
        self.ffn = _twice(lambda: _FeedForward(sizes.width, sizes.hidden_dim))
        self.final_layer_norm = _twice(lambda: nn.LayerNorm(sizes.width))  # the norm before the feed-forward network

    def forward(self, x: Tensor, branch: str, attend: Tensor | None) -> Tensor:
        x = x + self.self_attn(self.self_attn_layer_norm[branch](x), branch, attend)
        return x + self.ffn[branch](self.final_layer_norm[branch](x))


class _SelfAttention(nn.Module):
    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (
            _twice(lambda: nn.Linear(width, width)) for _ in range(4)
        )
        self.inner_attn_ln = _twice(lambda: nn.LayerNorm(width))

    def forward(self, x: Tensor, branch: str, attend: Tensor | None) -> Tensor:
        # (B, T, D) to (B, H, T, D / H); `attend` (B, 1, 1, T) is False on keys that are padding
        q, k, v = (
            projection[branch](x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=attend).transpose(1, 2).flatten(2)
        return self.out_proj[branch](self.inner_attn_ln[branch](mixed))


class _FeedForward(nn.Module):
    def __init__(self, width: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden_dim)
        self.ffn_layernorm = nn.LayerNorm(hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.ffn_layernorm(F.gelu(self.fc1(x))))


def _twice(make: Callable[[], nn.Module]) -> nn.ModuleDict:
    return nn.ModuleDict({IMAGE: make(), TEXT: make()})


def _read_tensors(path: Path) -> Mapping[str, Tensor]:
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


def _read_sizes(state: Mapping[str, Tensor], path: Path, num_heads: int | None) -> BEiT3Sizes:
    def shape(key: str, dimensions: int) -> torch.Size:
        if key not in state or state[key].ndim != dimensions:
            found = f"found shape {tuple(state[key].shape)}" if key in state else "it is missing"
            raise ValueError(
                f"{path}: key {key!r} must have {dimensions} dimensions; {found}: no BEiT-3 retrieval model"
            )
        return state[key].shape

    width, _, patch_size, _ = shape("beit3.vision_embed.proj.weight", 4)
    num_patches = shape("beit3.encoder.embed_positions.A.weight", 2)[0] - _FIRST_POSITION - 1
    grid = math.isqrt(max(num_patches, 0))
    if grid * grid != num_patches or grid == 0:
        raise ValueError(f"{path}: {num_patches} patch positions are no square grid: no BEiT-3 retrieval model")
    heads = num_heads or (width // _HEAD_DIM if width % _HEAD_DIM == 0 else 4)
    if width % heads:
        raise ValueError(f"{path}: a width of {width} has no {heads} heads; give num_heads")
    numbers = {key.removeprefix(_LAYER).split(".")[0] for key in state if key.startswith(_LAYER)}
    return BEiT3Sizes(
        width=width,
        hidden_dim=shape(f"{_LAYER}0.ffn.A.fc1.weight", 2)[0],
        num_layers=len(numbers),
        num_heads=heads,
        patch_size=patch_size,
        grid=grid,
        num_text_positions=shape("beit3.encoder.embed_positions.B.weight", 2)[0],
        vocabulary=shape("beit3.text_embed.weight", 2)[0],
    )


def _check_shapes(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path) -> None:
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

"""BEiT-3 with separate image and text encoders, as fine-tuned for retrieval (Wang et al., CVPR 2023, section 3.2).

One transformer whose every weight exists twice: branch A reads pictures, branch B texts ("multiway"). The layers are
pre-norm with a second norm inside each sublayer (sub-LN; Wang et al., "Foundation Transformers", ICML 2023). Module
names are the published checkpoints' key names.

Shape letters: B batch, P patches, L text tokens, D width, H heads, T tokens of either kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.models.backbones.beit3_file import (
    FIRST_POSITION,
    BEiT3Sizes,
    check_shapes,
    number_of_heads,
    read_sizes,
    read_tensors,
)

IMAGE, TEXT = "A", "B"


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

        Tensors do not tell the number of heads: it is the width / 64, as in the published models, unless `num_heads`
        says otherwise, which it must for a width that 64 does not divide.

        Raises:
            ValueError: the file is absent or damaged, holds more than tensors, its keys or shapes are not exactly those
                of a retrieval model, or the number of its heads is not known.
        """
        path = Path(path)
        state = read_tensors(path)
        sizes = read_sizes(state, path)
        with torch.device("meta"):
            check_shapes(cls(sizes).state_dict(), state, path)
            model = cls(replace(sizes, num_heads=number_of_heads(sizes.width, num_heads, path)))
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
        positions = self.beit3.encoder.positions(TEXT)[FIRST_POSITION : FIRST_POSITION + length]
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
        start, patches = table[FIRST_POSITION : FIRST_POSITION + 1], table[FIRST_POSITION + 1 :]
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
        num_image_positions = FIRST_POSITION + 1 + sizes.grid**2
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

"""What Qwen's vision-language models are given: patches in the order of their tower, and where tokens stand.

Shape letters: B batch, S pixels a side, L tokens of a prompt, G tokens a side of a picture.
"""

from __future__ import annotations

import torch
from torch import Tensor

from diptych.contracts.models import ImageSpec
from diptych.models.backbones.vlm_facts import TEMPORAL_PATCH, VLMFacts
from diptych.photos.photo_transform import normalise


def patches(pixels: Tensor, spec: ImageSpec, facts: VLMFacts) -> Tensor:
    """Normalised patches of uint8 pixels (B, 3, S, S), a row each, picture by picture: those that become one token of
    the language model stand together. A row holds three colours of two equal frames, as transformers'
    `Qwen2VLImageProcessor` lays them out.
    """
    images = normalise(pixels, spec)
    side, merge = facts.patch, facts.merge
    # B, colours, rows of tokens, rows of patches, rows of pixels, columns of tokens, of patches, of pixels
    cut = images.unflatten(3, (-1, merge, side)).unflatten(2, (-1, merge, side))
    rows = cut.permute(0, 2, 5, 3, 6, 1, 4, 7)  # tokens, patches, colours, pixels
    frames = rows.unsqueeze(6).expand(*rows.shape[:6], TEMPORAL_PATCH, side, side)
    return frames.flatten(5).flatten(0, 4)


def grids(num_pictures: int, tokens_a_side: int, facts: VLMFacts, device: torch.device) -> Tensor:
    """Frames, rows and columns of patches of square pictures (B, 3)."""
    side = tokens_a_side * facts.merge
    return torch.tensor([[1, side, side]], device=device).expand(num_pictures, 3)


def token_positions(mask: Tensor, is_picture: Tensor, tokens_a_side: int, spatial: bool) -> Tensor:
    """Where tokens stand (3, B, L): in time, height and width. `mask` (B, L) is True on real tokens, `is_picture` (B,
    L) on those of the one square picture that a prompt may have. Pads stand at 0.

    A text's tokens stand one behind the other, in all three. With `spatial` a picture's stand where they are in it, and
    the text behind goes on after its longest side (Wang et al. 2024, arXiv 2409.12191, section 2.1, "M-RoPE");
    otherwise they stand one behind the other too.
    """
    place = mask.long().cumsum(dim=1) - 1
    if spatial:
        within = is_picture.long().cumsum(dim=1) - 1  # of the picture's tokens, counted row by row
        start = place - within
        behind = (within >= 0) & ~is_picture
        in_picture = (0, within // tokens_a_side, within % tokens_a_side)
        text = place - behind * (tokens_a_side**2 - tokens_a_side)
        axes = [torch.where(is_picture, start + inside, text) for inside in in_picture]
    else:
        axes = [place, place, place]
    return torch.stack(axes).masked_fill(~mask, 0)


def last_tokens(hidden: Tensor, mask: Tensor) -> Tensor:
    """What stands at the last real token (B, D), of hidden states (B, L, D) with pads on either side."""
    last = mask.shape[1] - 1 - mask.flip(1).long().argmax(dim=1)
    return hidden[torch.arange(len(hidden), device=hidden.device), last]


def without_pictures(ids: Tensor, mask: Tensor, left_out: Tensor) -> tuple[Tensor, Tensor]:
    """Ids and mask (B, L - n) without the tokens where `left_out` (B, L) is True; n of every row are, and are real."""
    number = int(left_out[0].sum()) if len(left_out) else 0
    kept = left_out.to(torch.int8).argsort(dim=1, stable=True)[:, : ids.shape[1] - number]
    return ids.gather(1, kept), mask.gather(1, kept)

"""What the attention of several composers has in common: heads, and weights that can be looked at.

Shape letters: B batch, Q queries, K keys, D width, H heads, d head width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def split_heads(features: Tensor, num_heads: int) -> Tensor:
    """Features (B, Q, D) to (B, H, Q, d)."""
    return features.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def join_heads(features: Tensor) -> Tensor:
    """Features (B, H, Q, d) to (B, Q, D)."""
    return features.transpose(1, 2).flatten(2)


def attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, with_weights: bool, dropout: float = 0.0
) -> tuple[Tensor, Tensor | None]:
    """Scaled dot-product attention (B, H, Q, d) of queries (B, H, Q, d) to keys and values (B, H, K, d); only where
    `mask` (B, K) is True is attended to, everywhere without one. With `with_weights` also the weights (B, Q, K) before
    the dropout of the weights, the mean over heads; without, a fused kernel computes it.
    """
    seen = None if mask is None else mask[:, None, None]
    if not with_weights:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=seen, dropout_p=dropout), None
    logits = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    weights = (logits if seen is None else logits.masked_fill(~seen, -torch.inf)).softmax(dim=-1)
    return F.dropout(weights, dropout).to(value.dtype) @ value, weights.mean(dim=1)


def feed_forward(width: int, ratio: float, dropout: float) -> nn.Sequential:
    """Two linear layers, the hidden one `ratio` times as wide, with GELU and dropout between them."""
    hidden = int(width * ratio)
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width))

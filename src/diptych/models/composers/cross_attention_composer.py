"""Reference image + modification text -> query embedding, by cross-attention from patches to words.

Shape letters: B batch, P patches, L text tokens, D composer width (the image tower's), E embedding width, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.contracts.models import Backbone, ImageFeatures, TextFeatures
from diptych.models.composers.composed_model import ComposedModel, at_least_float32


class CrossAttentionComposer(ComposedModel):
    """Layers of cross-attention in which the reference's patches ask the words what changes.

    Pre-norm, residual, with feed-forward; padding is masked; every head has a learned scale. The pooled result is
    added to the reference's own embedding through a projection that starts at zero, so at step 0 the query is the
    image embedding and training begins from a sensible ranking.
    """

    attends_to_words = True

    def __init__(
        self,
        backbone: Backbone,
        num_layers: int = 4,
        num_heads: int = 8,
        feed_forward_ratio: float = 4.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(backbone)
        backbone.freeze_text_projection()
        width = backbone.vision_dim
        self.layers = nn.ModuleList(
            CrossAttentionLayer(width, backbone.text_dim, num_heads, feed_forward_ratio, dropout)
            for _ in range(num_layers)
        )
        self.pool = AttentionPool(width, num_heads)
        self.projection = nn.Linear(width, backbone.embedding_dim)
        nn.init.zeros_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)

    def compose(self, image: ImageFeatures, text: TextFeatures) -> Tensor:
        """L2-normalised query embeddings (B, E)."""
        return self._composed(image, text, with_weights=False)[0]

    def compose_with_attention(self, image: ImageFeatures, text: TextFeatures) -> tuple[Tensor, Tensor]:
        """As `compose`, and the attention (B, P, L) of the patches to the words, the mean over layers and heads."""
        query, maps = self._composed(image, text, with_weights=True)
        num_class_tokens = 1 if self.backbone.image_tokens == "before_norm" else 0
        return query, torch.stack(maps).mean(dim=0)[:, num_class_tokens:]

    def _composed(self, image: ImageFeatures, text: TextFeatures, with_weights: bool) -> tuple[Tensor, list[Tensor]]:
        """The query, and the attention (B, P, L) of each layer."""
        hidden, maps = image.tokens, []  # (B, P, D)
        for layer in self.layers:
            hidden, weights = layer(hidden, text.tokens, text.mask, with_weights)
            maps.append(weights)
        change = self.projection(self.pool(hidden))
        return F.normalize(at_least_float32(image.embedding) + at_least_float32(change), dim=-1), maps

    def embed_image(self, image: ImageFeatures) -> Tensor:
        """L2-normalised gallery embeddings (B, E): the backbone's shared space."""
        return F.normalize(at_least_float32(image.embedding), dim=-1)


class CrossAttentionLayer(nn.Module):
    """One pre-norm layer: patches (B, P, D) attend to words (B, L, Dt), then a feed-forward; both residual."""

    def __init__(self, width: int, text_dim: int, num_heads: int, feed_forward_ratio: float, dropout: float) -> None:
        super().__init__()
        self.norm_image, self.norm_text = nn.LayerNorm(width), nn.LayerNorm(text_dim)
        self.attention = MultiHeadCrossAttention(width, text_dim, num_heads, dropout)
        self.norm_hidden = nn.LayerNorm(width)
        hidden_dim = int(width * feed_forward_ratio)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, hidden_dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden_dim, width)
        )

    def forward(
        self, hidden: Tensor, words: Tensor, mask: Tensor | None, with_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Patches (B, P, D) after the layer; `mask` (B, L) is True on real tokens. With `with_weights` also those of
        the attention (B, P, L), the mean over heads.
        """
        attended, weights = self.attention(self.norm_image(hidden), self.norm_text(words), mask, with_weights)
        hidden = hidden + attended
        return hidden + self.feed_forward(self.norm_hidden(hidden)), weights


class MultiHeadCrossAttention(nn.Module):
    """Scaled dot-product attention from `queries` (B, P, D) to `words` (B, L, Dt), each head's output scaled."""

    def __init__(self, width: int, text_dim: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"num_heads={num_heads} does not divide the backbone's width {width}")
        self.num_heads, self.dropout = num_heads, dropout
        self.to_query, self.to_key_value = nn.Linear(width, width), nn.Linear(text_dim, 2 * width)
        self.head_scale = nn.Parameter(torch.ones(num_heads, 1, 1))
        self.to_output = nn.Linear(width, width)

    def forward(
        self, queries: Tensor, words: Tensor, mask: Tensor | None, with_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """(B, P, D); no word outside `mask` (B, L) is attended to. `mask` None attends to every position. With
        `with_weights` also the weights (B, P, L), the mean over heads.
        """
        query = self._heads(self.to_query(queries))
        key, value = (self._heads(part) for part in self.to_key_value(words).chunk(2, dim=-1))
        allowed = None if mask is None else mask[:, None, None, :]
        weights = None
        if with_weights:
            logits = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
            weights = (logits if allowed is None else logits.masked_fill(~allowed, -torch.inf)).softmax(dim=-1)
            attended = weights.to(value.dtype) @ value
            weights = weights.mean(dim=1)
        else:
            attended = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        attended = attended * self.head_scale.to(attended.dtype)
        # On the output, not on the attention weights: those would lose the fused kernel.
        return F.dropout(self.to_output(attended.transpose(1, 2).flatten(2)), self.dropout, self.training), weights

    def _heads(self, features: Tensor) -> Tensor:
        return features.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, H, tokens, D / H)


class AttentionPool(nn.Module):
    """One learned query attends over the patches (B, P, D) and gives (B, D)."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, 1, width) * width**-0.5)
        self.norm = nn.LayerNorm(width)
        self.attention = MultiHeadCrossAttention(width, width, num_heads)

    def forward(self, hidden: Tensor) -> Tensor:
        """The pooled patches (B, D)."""
        query = self.query.expand(len(hidden), -1, -1)
        pooled: Tensor = self.attention(query, self.norm(hidden), None)[0].squeeze(1)
        return pooled

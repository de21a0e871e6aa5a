"""Reference image + modification text -> query embedding, by cross-attention from patches to words.

Shape letters: B batch, P patches, L text tokens, D composer width (the image tower's), E embedding width, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.contracts.models import Backbone, ImageFeatures, TextFeatures
from diptych.models.composers.attention import attend, feed_forward, join_heads, split_heads
from diptych.models.composers.composed_model import ComposedModel, at_least_float32, shared_embedding
from diptych.models.layer_norm import LeanLayerNorm

START_CHOICES = ("image", "sum", "text", "none")


class CrossAttentionComposer(ComposedModel):
    """Layers of cross-attention in which the reference's patches ask the words what changes.

    Pre-norm, residual, with feed-forward; padding is masked; every head has a learned scale. The pooled result is
    added, through a projection that starts at zero, to what the query is at step 0, so that training begins from a
    sensible ranking. `start` says what that is: the `image` embedding, the text's, or the `sum` of both, normalised
    before and after. With `none` nothing is added to, and the projection starts as any linear layer does.
    """

    attends_to_words = True

    def __init__(
        self,
        backbone: Backbone,
        num_layers: int = 4,
        num_heads: int = 8,
        feed_forward_ratio: float = 4.0,
        dropout: float = 0.0,
        start: str = "image",
    ) -> None:
        super().__init__(backbone)
        if start not in START_CHOICES:
            raise ValueError(f"start={start!r} is not one of {', '.join(START_CHOICES)}")
        self.start = start
        if start not in ("sum", "text"):
            backbone.freeze_text_projection()
        width = backbone.vision_dim
        self.layers = nn.ModuleList(
            CrossAttentionLayer(width, backbone.text_dim, num_heads, feed_forward_ratio, dropout)
            for _ in range(num_layers)
        )
        self.pool = AttentionPool(width, num_heads)
        self.projection = nn.Linear(width, backbone.embedding_dim)
        if start != "none":
            nn.init.zeros_(self.projection.weight)
            nn.init.zeros_(self.projection.bias)

    def compose(self, image: ImageFeatures, text: TextFeatures) -> Tensor:
        """L2-normalised query embeddings (B, E)."""
        return self._composed(image, text, with_weights=False)[0]

    def compose_with_attention(self, image: ImageFeatures, text: TextFeatures) -> tuple[Tensor, Tensor]:
        """As `compose`, and the attention (B, P, L) of the patches to the words, the mean over layers and heads."""
        query, maps = self._composed(image, text, with_weights=True)
        return query, self.without_class_token(torch.stack(maps).mean(dim=0))

    def _composed(self, image: ImageFeatures, text: TextFeatures, with_weights: bool) -> tuple[Tensor, list[Tensor]]:
        """The query, and the attention (B, P, L) of each layer."""
        hidden, maps = image.tokens, []  # (B, P, D)
        for layer in self.layers:
            hidden, weights = layer(hidden, text.tokens, text.mask, with_weights)
            maps.append(weights)
        change = at_least_float32(self.projection(self.pool(hidden)))
        return F.normalize(change if self.start == "none" else self._started(image, text) + change, dim=-1), maps

    def _started(self, image: ImageFeatures, text: TextFeatures) -> Tensor:
        """What the change is added to (B, E). Texts as long as pictures: the change then weighs alike in all starts."""
        of_image = at_least_float32(image.embedding)
        if self.start == "image":
            return of_image
        of_text = shared_embedding(text) * of_image.norm(dim=-1, keepdim=True)
        return of_text if self.start == "text" else of_image + of_text


class CrossAttentionLayer(nn.Module):
    """One pre-norm layer: patches (B, P, D) attend to words (B, L, Dt), then a feed-forward; both residual."""

    def __init__(self, width: int, text_dim: int, num_heads: int, feed_forward_ratio: float, dropout: float) -> None:
        super().__init__()
        self.norm_image, self.norm_text = LeanLayerNorm(width), LeanLayerNorm(text_dim)
        self.attention = MultiHeadCrossAttention(width, text_dim, num_heads, dropout)
        self.norm_hidden = LeanLayerNorm(width)
        self.feed_forward = feed_forward(width, feed_forward_ratio, dropout)

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
        key_value = self.to_key_value(words).chunk(2, dim=-1)
        query, key, value = (split_heads(part, self.num_heads) for part in (self.to_query(queries), *key_value))
        attended, weights = attend(query, key, value, mask, with_weights)
        attended = attended * self.head_scale.to(attended.dtype)
        # On the output, not on the attention weights: those would lose the fused kernel.
        return F.dropout(self.to_output(join_heads(attended)), self.dropout, self.training), weights


class AttentionPool(nn.Module):
    """One learned query attends over the patches (B, P, D) and gives (B, D)."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, 1, width) * width**-0.5)
        self.norm = LeanLayerNorm(width)
        self.attention = MultiHeadCrossAttention(width, width, num_heads)

    def forward(self, hidden: Tensor) -> Tensor:
        """The pooled patches (B, D)."""
        query = self.query.expand(hidden.shape[0], -1, -1)
        pooled: Tensor = self.attention(query, self.norm(hidden), None)[0].squeeze(1)
        return pooled

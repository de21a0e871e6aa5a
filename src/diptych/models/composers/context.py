"""The composer of ConText-CIR's corrected release (mvrl/ConText-CIR, `src/Models.py`, cc07007).

Shape letters: B batch, V vision tokens, P patches, L text tokens, D image tower width, T text tower width, E embedding
width, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.contracts.models import Backbone, ImageFeatures, TextFeatures
from diptych.models.composers.attention import attend, feed_forward, join_heads, split_heads
from diptych.models.composers.composed_model import ComposedModel, at_least_float32
from diptych.models.layer_norm import LeanLayerNorm


class MaskedCrossAttention(nn.Module):
    """Multi-head attention with logits times `head_dim ** -0.5`, whose weights can be looked at."""

    def __init__(self, query_dim: int, context_dim: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if query_dim % num_heads:
            raise ValueError(f"num_heads={num_heads} does not divide the image tower's width {query_dim}")
        self.num_heads, self.dropout = num_heads, dropout
        self.q_proj = nn.Linear(query_dim, query_dim)
        self.k_proj = nn.Linear(context_dim, query_dim)
        self.v_proj = nn.Linear(context_dim, query_dim)
        self.out_proj = nn.Linear(query_dim, query_dim)

    def forward(
        self, queries: Tensor, context: Tensor, mask: Tensor | None = None, with_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Queries (B, V, D) and context (B, L, T) to (B, V, D); only where `mask` (B, L) is True is attended to. With
        `with_weights` also the weights (B, V, L) before dropout, the mean over heads.
        """
        projected = (self.q_proj(queries), self.k_proj(context), self.v_proj(context))
        q, k, v = (split_heads(part, self.num_heads) for part in projected)
        attended, weights = attend(q, k, v, mask, with_weights, self.dropout if self.training else 0.0)
        return self.out_proj(join_heads(attended)), weights


class NormedAttentionPooler(nn.Module):
    """One learned query that attends to all tokens, and a LayerNorm after it."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(1, 1, dim) * dim**-0.5)
        self.attention = MaskedCrossAttention(dim, dim, num_heads)
        self.norm = LeanLayerNorm(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, V, D) to (B, D)."""
        attended, _ = self.attention(self.queries.expand(tokens.shape[0], -1, -1), tokens)
        pooled: Tensor = self.norm(attended)
        return pooled[:, 0]


class ConTextFusion(nn.Module):
    """The released fusion under its released parameter names, so that its weights load with `load_state_dict`.

    Each layer is attention from the normed vision tokens to the words, which are not normed again, then a feed-forward;
    both residual, and both begin at zero: at first the words change nothing, and the query is the projected pooling of
    the picture's own tokens.
    """

    def __init__(
        self,
        vision_dim: int,
        text_dim: int,
        embedding_dim: int,
        num_heads: int = 8,
        num_layers: int = 4,
        feed_forward_ratio: float = 4.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        attentions = [MaskedCrossAttention(vision_dim, text_dim, num_heads, dropout) for _ in range(num_layers)]
        feed_forwards = [feed_forward(vision_dim, feed_forward_ratio, dropout) for _ in range(num_layers)]
        last_layers: list[nn.Module] = [*(layer.out_proj for layer in attentions), *(net[-1] for net in feed_forwards)]
        for parameter in (parameter for layer in last_layers for parameter in layer.parameters()):
            nn.init.zeros_(parameter)
        self.cross_attn_layers, self.fusion_ffns = nn.ModuleList(attentions), nn.ModuleList(feed_forwards)
        self.fusion_attn_norms = nn.ModuleList(LeanLayerNorm(vision_dim) for _ in range(num_layers))
        self.fusion_ffn_norms = nn.ModuleList(LeanLayerNorm(vision_dim) for _ in range(num_layers))
        self.attn_pooler = NormedAttentionPooler(vision_dim, num_heads)
        self.query_projection = nn.Linear(vision_dim, embedding_dim)

    def forward(
        self, vision_tokens: Tensor, text_tokens: Tensor, mask: Tensor, with_attention: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Vision tokens (B, V, D) and text tokens (B, L, T), of which `mask` (B, L) marks the real ones, to query
        embeddings (B, E), not normalised. With `with_attention` also the attention (B, V, L) of the vision tokens to
        the words, the mean over layers and heads.
        """
        maps = []
        parts = (self.cross_attn_layers, self.fusion_attn_norms, self.fusion_ffns, self.fusion_ffn_norms)
        for attention, attention_norm, network, norm in zip(*parts, strict=True):
            attended, weights = attention(attention_norm(vision_tokens), text_tokens, mask, with_attention)
            vision_tokens = vision_tokens + attended
            vision_tokens = vision_tokens + network(norm(vision_tokens))
            maps.append(weights)
        query: Tensor = self.query_projection(self.attn_pooler(vision_tokens))
        return query, torch.stack(maps).mean(dim=0) if with_attention else None


class ConTextComposer(ComposedModel):
    """A backbone with the released fusion; targets are the backbone's shared-space embeddings, into which the queries
    are projected, and pads are masked.

    Released are all vision tokens from before the tower's last norm, class token first (the backbone's
    `image_tokens=before_norm`), four times the width in the feed-forward, and no dropout.
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
        self.fusion = ConTextFusion(
            backbone.vision_dim,
            backbone.text_dim,
            backbone.embedding_dim,
            num_heads,
            num_layers,
            feed_forward_ratio,
            dropout,
        )

    def compose(self, image: ImageFeatures, text: TextFeatures) -> Tensor:
        """L2-normalised query embeddings (B, E)."""
        query, _ = self.fusion(image.tokens, text.tokens, text.mask)
        return F.normalize(at_least_float32(query), dim=-1)

    def compose_with_attention(self, image: ImageFeatures, text: TextFeatures) -> tuple[Tensor, Tensor]:
        """As `compose`, and the attention (B, P, L) of the patches to the words, the mean over layers and heads."""
        query, attention = self.fusion(image.tokens, text.tokens, text.mask, with_attention=True)
        assert attention is not None
        return F.normalize(at_least_float32(query), dim=-1), self.without_class_token(attention)

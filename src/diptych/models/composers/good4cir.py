"""The composer of the good4cir baseline, exactly as released in SLUVisLab/good4cir (`evalsrc/Models.py`, 7087237), to
which the parts of later composers can be added one by one.

Shape letters: B batch, V vision tokens, L text tokens, D image tower width, T text tower width,
E embedding width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.contracts.models import Backbone, ImageFeatures, TextFeatures
from diptych.models.composers.attention import feed_forward, join_heads, split_heads
from diptych.models.composers.composed_model import ComposedModel, at_least_float32, shared_embedding
from diptych.models.layer_norm import LeanLayerNorm


class LearnedScaleAttention(nn.Module):
    """Multi-head attention whose logits have one learned factor and no other; it starts at `query_dim ** -0.5`, which
    is flatter than the usual `head_dim ** -0.5`.
    """

    def __init__(self, query_dim: int, context_dim: int, num_heads: int) -> None:
        super().__init__()
        if query_dim % num_heads:
            raise ValueError(f"num_heads={num_heads} does not divide the image tower's width {query_dim}")
        self.num_heads = num_heads
        self.q_proj = nn.Linear(query_dim, query_dim)
        self.k_proj = nn.Linear(context_dim, query_dim)
        self.v_proj = nn.Linear(context_dim, query_dim)
        self.out_proj = nn.Linear(query_dim, query_dim)
        self.scale = nn.Parameter(torch.full((1,), query_dim**-0.5))

    def forward(self, queries: Tensor, context: Tensor, ignored: Tensor | None = None) -> Tensor:
        """Queries (B, V, D) and context (B, L, T) to (B, V, D); `ignored` (B, L) marks what is not attended to."""
        q, k, v = (
            split_heads(projected, self.num_heads)
            for projected in (self.q_proj(queries) * self.scale, self.k_proj(context), self.v_proj(context))
        )
        seen = None if ignored is None else ~ignored[:, None, None]
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=1.0)
        return self.out_proj(join_heads(attended))


class AttentionPooler(nn.Module):
    """One learned query, standard normal at first, that attends to all tokens."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(1, 1, dim))
        self.attention = LearnedScaleAttention(dim, dim, num_heads)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, V, D) to (B, D)."""
        pooled: Tensor = self.attention(self.queries.expand(tokens.shape[0], -1, -1), tokens)
        return pooled[:, 0]


class Good4CIRFusion(nn.Module):
    """The released fusion under its released parameter names, so that its weights load with `load_state_dict`.

    Each layer is attention from the vision tokens to the words, and *replaces* the vision tokens: no residual, norm or
    feed-forward. 10,239,749 parameters for ViT-B/32 (768 and 512 wide).

    With `residual` a layer's output is added to the vision tokens. With `norms` tokens and words are normed before they
    are attended with, and the tokens before they are pooled. A `feed_forward_ratio` above 0 gives every layer a
    residual feed-forward with a hidden layer that many times as wide, of normed tokens if there are `norms`.
    """

    def __init__(
        self,
        vision_dim: int,
        text_dim: int,
        num_heads: int = 8,
        num_layers: int = 4,
        residual: bool = False,
        norms: bool = False,
        feed_forward_ratio: float = 0.0,
    ) -> None:
        super().__init__()
        if feed_forward_ratio and not residual:
            raise ValueError(
                f"feed_forward_ratio={feed_forward_ratio}: feed-forward layers are added to residual connections, so "
                "set residual=true; the released composer has neither (feed_forward_ratio=0)"
            )
        self.residual = residual
        self.cross_attn_layers = nn.ModuleList(
            LearnedScaleAttention(vision_dim, text_dim, num_heads) for _ in range(num_layers)
        )
        self.attn_pooler = AttentionPooler(vision_dim, num_heads)
        num_norms, num_networks = (num_layers if wanted else 0 for wanted in (norms, feed_forward_ratio))
        self.token_norms = nn.ModuleList(LeanLayerNorm(vision_dim) for _ in range(num_norms))
        self.word_norms = nn.ModuleList(LeanLayerNorm(text_dim) for _ in range(num_norms))
        norm = LeanLayerNorm if norms else nn.Identity
        self.pool_norm = norm(vision_dim)
        self.feed_forwards = nn.ModuleList(
            nn.Sequential(norm(vision_dim), feed_forward(vision_dim, feed_forward_ratio, dropout=0.0))
            for _ in range(num_networks)
        )

    def forward(self, vision_tokens: Tensor, text_tokens: Tensor, ignored: Tensor | None = None) -> Tensor:
        """Vision tokens (B, V, D) and text tokens (B, L, T) to query embeddings (B, D), not normalised; words that
        `ignored` (B, L) marks are not attended to, in the release none.
        """
        for number, layer in enumerate(self.cross_attn_layers):
            normed, words = vision_tokens, text_tokens
            if self.token_norms:
                normed, words = self.token_norms[number](vision_tokens), self.word_norms[number](text_tokens)
            attended = layer(normed, words, ignored)
            vision_tokens = vision_tokens + attended if self.residual else attended
            if self.feed_forwards:
                vision_tokens = vision_tokens + self.feed_forwards[number](vision_tokens)
        query: Tensor = self.attn_pooler(self.pool_norm(vision_tokens))
        return query


class Good4CIRComposer(ComposedModel):
    """A backbone with the released fusion; targets are the image tower's pooled output *before* its projection, 768
    wide for ViT-B/32, where the queries lie too.

    Published are 50 vision tokens from before the tower's last norm, class token first (the backbone's
    `image_tokens=before_norm`), and 77 words as transformers' CLIPTokenizer makes them, pads attended to
    (`preprocessing.pad_to_context=true`, `preprocessing.tokenizer=transformers`).

    The defaults are the release's. `residual`, `norms` and `feed_forward_ratio` are those of the fusion; with
    `mask_padding` pads are not attended to; with `shared_space` queries are projected into the space of pictures and
    texts, where their targets lie then.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_layers: int = 4,
        num_heads: int = 8,
        mask_padding: bool = False,
        residual: bool = False,
        norms: bool = False,
        feed_forward_ratio: float = 0.0,
        shared_space: bool = False,
    ) -> None:
        self.embeds_text = shared_space  # else pictures are compared before they are projected to where texts are
        super().__init__(backbone)
        backbone.freeze_text_projection()
        if not shared_space:
            backbone.freeze_image_projection()
        self.mask_padding = mask_padding
        widths = (backbone.vision_dim, backbone.text_dim)
        self.fusion = Good4CIRFusion(*widths, num_heads, num_layers, residual, norms, feed_forward_ratio)
        self.projection = nn.Linear(backbone.vision_dim, backbone.embedding_dim) if shared_space else nn.Identity()

    def compose(self, image: ImageFeatures, text: TextFeatures) -> Tensor:
        """L2-normalised query embeddings (B, D), or (B, E) in the shared space."""
        query = self.fusion(image.tokens, text.tokens, ~text.mask if self.mask_padding else None)
        return F.normalize(at_least_float32(self.projection(query)), dim=-1)

    def embed_image(self, image: ImageFeatures) -> Tensor:
        """L2-normalised gallery embeddings: the pooled output before projection (B, D), or those of the shared space
        (B, E).
        """
        return shared_embedding(image) if self.embeds_text else F.normalize(at_least_float32(image.pooled), dim=-1)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if f"{prefix}pool_query" in state_dict:
            own = {name: state_dict.pop(name) for name in list(state_dict) if _is_of_format_2(name, prefix)}
            converted = _from_format_2({name.removeprefix(prefix): value for name, value in own.items()}, self.fusion)
            state_dict.update({f"{prefix}fusion.{name}": value for name, value in converted.items()})
        super()._load_from_state_dict(state_dict, prefix, *args)


# Until checkpoint format 3 the composer had PyTorch's attention over words projected to the image tower's width, and
# multiplied each layer's output by a learned scalar. What it computed can be said with the released parameters.
_OF_FORMAT_2 = ("text_projection.", "layers.", "scales", "pool_query", "pool.")


def _is_of_format_2(name: str, prefix: str) -> bool:
    return name.startswith(tuple(f"{prefix}{part}" for part in _OF_FORMAT_2))


def _from_format_2(old: Mapping[str, Tensor], fusion: Good4CIRFusion) -> dict[str, Tensor]:
    words, bias = old["text_projection.weight"], old["text_projection.bias"]
    new = {"attn_pooler.queries": old["pool_query"]}
    for number, factor in enumerate(old["scales"]):
        layer = _attention_of_format_2(old, f"layers.{number}.", fusion)
        for name in ("k_proj", "v_proj"):  # of the projected words
            layer[f"{name}.bias"] = layer[f"{name}.bias"] + layer[f"{name}.weight"] @ bias
            layer[f"{name}.weight"] = layer[f"{name}.weight"] @ words
        for part in ("weight", "bias"):
            layer[f"out_proj.{part}"] = factor * layer[f"out_proj.{part}"]
        new |= {f"cross_attn_layers.{number}.{name}": value for name, value in layer.items()}
    pool = _attention_of_format_2(old, "pool.", fusion)
    return new | {f"attn_pooler.attention.{name}": value for name, value in pool.items()}


def _attention_of_format_2(old: Mapping[str, Tensor], prefix: str, fusion: Good4CIRFusion) -> dict[str, Tensor]:
    weights, biases = (old[f"{prefix}in_proj_{part}"].chunk(3) for part in ("weight", "bias"))
    new = {f"{name}_proj.weight": weight for name, weight in zip("qkv", weights, strict=True)}
    new |= {f"{name}_proj.bias": bias for name, bias in zip("qkv", biases, strict=True)}
    new |= {f"out_proj.{part}": old[f"{prefix}out_proj.{part}"] for part in ("weight", "bias")}
    head_dim = len(weights[0]) // fusion.attn_pooler.attention.num_heads
    return new | {"scale": weights[0].new_full((1,), head_dim**-0.5)}

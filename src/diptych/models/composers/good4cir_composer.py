"""The composer of the published good4cir baseline, for comparison with ours.

Shape letters: B batch, P patches, L text tokens, D image tower width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.contracts.models import Backbone, ImageFeatures, TextFeatures
from diptych.models.composers.composed_model import ComposedModel, at_least_float32


class Good4CIRComposer(ComposedModel):
    """Cross-attention as released in SLUVisLab/good4cir: no residual, no norm, no feed-forward.

    Each layer is multi-head attention from the patches to the words times a learned scalar; one learned query pools
    the patches; the target is the image tower's pooled output *before* projection (768 wide for ViT-B/32). The
    released code attends to the padding: `mask_padding=false` with `preprocessing.pad_to_context=true` does the same.
    """

    embeds_text = False  # pictures are compared before they are projected into the space of the texts

    def __init__(self, backbone: Backbone, num_layers: int = 4, num_heads: int = 8, mask_padding: bool = False) -> None:
        super().__init__(backbone)
        backbone.freeze_text_projection()
        backbone.freeze_image_projection()
        width = backbone.vision_dim
        self.mask_padding = mask_padding
        self.text_projection = nn.Linear(backbone.text_dim, width)
        self.layers = nn.ModuleList(
            nn.MultiheadAttention(width, num_heads, batch_first=True) for _ in range(num_layers)
        )
        self.scales = nn.Parameter(torch.ones(num_layers))
        self.pool_query = nn.Parameter(torch.randn(1, 1, width) * width**-0.5)
        self.pool = nn.MultiheadAttention(width, num_heads, batch_first=True)

    def compose(self, image: ImageFeatures, text: TextFeatures) -> Tensor:
        """L2-normalised query embeddings (B, D)."""
        hidden, words = image.tokens, self.text_projection(text.tokens)
        ignored = ~text.mask if self.mask_padding else None
        for layer, scale in zip(self.layers, self.scales, strict=True):
            hidden = scale * layer(hidden, words, words, key_padding_mask=ignored, need_weights=False)[0]
        query = self.pool_query.expand(len(hidden), -1, -1)
        pooled = self.pool(query, hidden, hidden, need_weights=False)[0].squeeze(1)
        return F.normalize(at_least_float32(pooled), dim=-1)

    def embed_image(self, image: ImageFeatures) -> Tensor:
        """L2-normalised gallery embeddings (B, D): the pooled output before projection."""
        return F.normalize(at_least_float32(image.pooled), dim=-1)

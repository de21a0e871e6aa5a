"""CLIP as a photo encoder: an open_clip backbone with its published weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from diptych.contracts.models import Backbone
from diptych.models.backbones.encoder_dtype import AUTO, check_dtype, settled_dtype, weights_dtype
from diptych.photos.photo_transform import PhotoTransform


class CLIPEncoder(nn.Module):
    """A PhotoEncoder out of a backbone: its own preprocessing, its embeddings in the shared space, normalised. `dtype`
    is that of the weights.
    """

    def __init__(self, backbone: Backbone, dtype: str = AUTO) -> None:
        super().__init__()
        self.backbone, self.dtype = backbone, check_dtype(dtype)

    @classmethod
    def settled(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """What `dtype` is on this machine, for a config that is kept."""
        return settled_dtype(settings)

    @property
    def transform(self) -> Callable[[Tensor], Tensor]:
        """uint8 pixels (3, H, W) to uint8 pixels (3, S, S)."""
        return PhotoTransform(self.backbone.preprocessing.image)

    def load(self) -> None:
        """Loads the published weights and switches to evaluation; ValueError as `Backbone.load_pretrained`."""
        self.backbone.load_pretrained()
        self.eval().requires_grad_(False).to(weights_dtype(self.dtype))

    def embed_images(self, inputs: Tensor) -> Tensor:
        """L2-normalised float32 embeddings (B, E) of transformed photos (B, 3, S, S)."""
        pixels = inputs.to(self.backbone.device)
        return F.normalize(self.backbone.encode_image(pixels).embedding.float(), dim=-1)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """L2-normalised float32 embeddings (B, E); what is longer than the context loses its end."""
        tokens = self.backbone.preprocessing.tokenize(texts).to(self.backbone.device)
        return F.normalize(self.backbone.encode_text(tokens).embedding.float(), dim=-1)

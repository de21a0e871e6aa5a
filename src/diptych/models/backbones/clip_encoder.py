"""CLIP as a photo encoder: an open_clip backbone, with published weights or those of a CIR checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from diptych import checkpoints
from diptych.models.backbones.clip import CLIPBackbone
from diptych.models.backbones.image_transforms import PhotoTransform

_PREFIX = "model.backbone."  # of the backbone's weights in a checkpoint of the CIR system


class CLIPEncoder(nn.Module):
    """A PhotoEncoder out of a CLIP backbone: its own preprocessing, its embeddings in the shared space, normalised.

    `load` takes the backbone's published weights or, where `checkpoint` names one that `train.py` wrote for a CIR
    system, the backbone in that.
    """

    def __init__(self, backbone: CLIPBackbone, checkpoint: str | Path | None = None) -> None:
        super().__init__()
        self.backbone, self.checkpoint = backbone, checkpoint

    @property
    def transform(self) -> Callable[[Tensor], Tensor]:
        """uint8 pixels (3, H, W) to uint8 pixels (3, S, S)."""
        return PhotoTransform(self.backbone.preprocessing.image)

    def load(self) -> None:
        """Loads the weights and switches to evaluation.

        Raises:
            ValueError: as `CLIPBackbone.load_pretrained`, or the checkpoint is missing, damaged, not of a CIR system or
                of another backbone.
        """
        if self.checkpoint is None:
            self.backbone.load_pretrained()
        else:
            content = checkpoints.load(self.checkpoint)
            weights = content.get("state_dict", {})
            own = {key.removeprefix(_PREFIX): value for key, value in weights.items() if key.startswith(_PREFIX)}
            if not own:
                raise ValueError(f"{self.checkpoint} holds no CLIP backbone; name a checkpoint of a CIR system")
            checkpoints.load_weights(self.backbone, {"state_dict": own}, self.checkpoint)
        self.eval().requires_grad_(False)

    def embed_images(self, inputs: Tensor) -> Tensor:
        """L2-normalised float32 embeddings (B, E) of transformed photos (B, 3, S, S)."""
        pixels = inputs.to(self.backbone.mean.device)
        return F.normalize(self.backbone.encode_image(pixels).embedding.float(), dim=-1)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """L2-normalised float32 embeddings (B, E); what is longer than the context loses its end."""
        tokens = self.backbone.preprocessing.tokenize(texts).to(self.backbone.mean.device)
        return F.normalize(self.backbone.encode_text(tokens).embedding.float(), dim=-1)

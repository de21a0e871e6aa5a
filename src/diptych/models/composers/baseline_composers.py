"""Composers without parameters of their own: what each modality finds alone, and their sum.

Shape letters: B batch, E embedding width.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from diptych.contracts.models import Backbone, ImageFeatures, TextFeatures
from diptych.contracts.retrieval import BASELINES
from diptych.models.composers.composed_model import ComposedModel, shared_embedding


class BaselineComposer(ComposedModel):
    """The query is the reference's embedding (`image_only`), the text's (`text_only`), or their normalised sum.

    Trained like any composer, it tells how much of a benchmark one modality solves; untrained, it is the zero-shot
    baseline of the backbone.
    """

    def __init__(self, backbone: Backbone, kind: str = "sum") -> None:
        super().__init__(backbone)
        if kind not in BASELINES:
            raise ValueError(f"kind={kind!r} is not one of {', '.join(BASELINES)}")
        self.kind = kind
        if kind == "image_only":  # nothing of the text tower gets a gradient
            backbone.freeze_text_tower()

    def compose(self, image: ImageFeatures, text: TextFeatures) -> Tensor:
        """L2-normalised query embeddings (B, E)."""
        image_only, text_only = (shared_embedding(part) for part in (image, text))
        if self.kind == "sum":
            return F.normalize(image_only + text_only, dim=-1)
        return image_only if self.kind == "image_only" else text_only

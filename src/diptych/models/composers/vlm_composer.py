"""A vision-language model as the composer: it reads instruction, picture and text in one prompt.

Shape letters: B batch, E embedding width, P tokens of a picture.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.contracts.models import ImageFeatures, TextFeatures, TextTokens
from diptych.contracts.retrieval import TripletBatch
from diptych.models.backbones.vlm import VLMBackbone
from diptych.models.composers.composed_model import ComposedModel, Piece, at_least_float32


class VLMComposer(ComposedModel):
    """Queries and pictures of the gallery are embedded by the same network: a query is the prompt of instruction,
    reference and text, a picture the prompt of its own instruction and the picture. Embeddings are L2-normalised.

    Its baselines are the network's own: the reference as a picture of the gallery, the text in a prompt without the
    picture, and the sum of both. In training a picture that occurs twice goes through the vision tower once.

    Checkpoints hold the adapter alone, and need the model that it belongs to, under the same `name`.
    """

    backbone: VLMBackbone
    no_onnx = (
        "it reads pictures and words in one prompt of a vision-language model, and its checkpoint holds an adapter of"
        " that model alone"
    )

    def __init__(self, backbone: VLMBackbone) -> None:
        if not isinstance(backbone, VLMBackbone):
            raise ValueError(
                f"{type(self).__name__} wants a vision-language model, and the backbone {backbone.name} is none: set"
                " system/model/backbone=gme_qwen2_vl_2b, for example"
            )
        super().__init__(backbone)

    @property
    def rank(self) -> int | None:
        """The adapter's; None without one."""
        return None if self.backbone.adapter is None else self.backbone.adapter.rank

    @property
    def stays_on_device(self) -> bool:  # type: ignore[override]  # a constant of the other composers
        """Whether its weights are quantised."""
        return self.backbone.quantization != "none"

    def load_pretrained(self, device: torch.device, weights_follow: bool = False) -> None:
        """Reads the model onto the device, also where an adapter's weights follow: they are not enough."""
        self.backbone.load(device)

    def compose(self, image: ImageFeatures, text: TextFeatures) -> Tensor:
        """Nothing.

        Raises:
            TypeError: features of a text have been read without the picture; `embed_queries` reads both together.
        """
        raise TypeError(f"{type(self).__name__} reads picture and text together: call embed_queries")

    def embed_queries(self, reference: Tensor | None, text: TextTokens | None) -> dict[str, Tensor]:
        """As `ComposedModel.embed_queries`, of prompts as the backbone's `preprocessing.tokenize` makes them."""
        embedded = {}
        seen = None if reference is None else self.backbone.look(reference)
        if seen is not None:
            embedded["image_only"] = normalised(self.backbone.embed_pictures(seen))
        if text is not None:
            embedded["text_only"] = normalised(self.backbone.embed(text, None))
        if seen is not None and text is not None:
            embedded["model"] = normalised(self.backbone.embed(text, seen))
            embedded["sum"] = F.normalize(embedded["image_only"] + embedded["text_only"], dim=-1)
        return embedded

    def embed_gallery(self, pixels: Tensor) -> dict[str, Tensor]:
        """Gallery embeddings (B, E): the baselines' are the model's."""
        embedding = normalised(self.backbone.embed_pictures(self.backbone.look(pixels)))
        return {"model": embedding, "baseline": embedding}

    def _embed_piece(self, batch: TripletBatch, with_reference: bool, on_device: Tensor | None = None) -> Piece:
        assert isinstance(batch.text, TextTokens)  # its features are not cached: they depend on the picture
        reference, target, distractors = self._encode_pictures(batch)
        wanted = [target, reference if with_reference else None, distractors]
        there = [part.tokens for part in wanted if part is not None]
        embedded = iter(normalised(self.backbone.embed_pictures(torch.cat(there))).split([len(part) for part in there]))
        targets, references, others = (None if part is None else next(embedded) for part in wanted)
        assert targets is not None
        query = normalised(self.backbone.embed(batch.text, reference.tokens))
        return query, targets, references, others, None, None

    def _see(self, pixels: Tensor) -> ImageFeatures:
        """Their tokens alone: references are not embedded by themselves unless it is asked for."""
        seen = self.backbone.look(pixels)
        nothing = seen[:, 0, :0]
        return ImageFeatures(seen, nothing, nothing)


def normalised(embedding: Tensor) -> Tensor:
    """L2-normalised embeddings (B, E), in float32 at least."""
    return F.normalize(at_least_float32(embedding), dim=-1)

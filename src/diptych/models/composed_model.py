"""What every composed retrieval model shares: one tower call for all pictures of a batch, micro-batches, baselines.

Shape letters: B batch, E embedding width.
"""

from __future__ import annotations

from abc import abstractmethod
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from diptych.contracts import ContrastiveEmbeddings, ImageFeatures, TextFeatures, TextTokens, TripletBatch
from diptych.models.backbones.clip import CLIPBackbone


class ComposedModel(nn.Module):
    """A backbone and the rule that composes a query from its features; subclasses give `compose` and `embed_image`."""

    def __init__(self, backbone: CLIPBackbone) -> None:
        super().__init__()
        self.backbone = backbone

    @abstractmethod
    def compose(self, image: ImageFeatures, text: TextFeatures) -> Tensor:
        """L2-normalised query embeddings (B, E)."""

    @abstractmethod
    def embed_image(self, image: ImageFeatures) -> Tensor:
        """L2-normalised gallery embeddings (B, E), in the space of the queries."""

    def forward(
        self,
        batch: TripletBatch,
        micro_batch_size: int | None = None,
        with_reference: bool = False,
        with_distractors: bool = False,
    ) -> ContrastiveEmbeddings:
        """Everything that the loss compares, of one batch.

        With `micro_batch_size` the batch is embedded piece by piece and each piece again in the backward pass
        (gradient caching, Gao et al. 2021): the result is that of the whole batch, the memory that of one piece.
        """
        size = micro_batch_size or len(batch.query_ids)
        pieces = [_rows(batch, start, start + size) for start in range(0, len(batch.query_ids), size)]
        # Distractors are spread over the pieces so that no piece is larger than the others.
        extra = _split(batch.distractors if with_distractors else None, len(pieces))
        one_piece = len(pieces) == 1 or not torch.is_grad_enabled()
        embedded = [
            self._embed_piece(*piece, more, with_reference)
            if one_piece
            else checkpoint(self._embed_piece, *piece, more, with_reference, use_reentrant=False)
            for piece, more in zip(pieces, extra, strict=True)
        ]
        query, target, reference, distractors = zip(*embedded, strict=True)
        return ContrastiveEmbeddings(torch.cat(query), torch.cat(target), _join(reference), _join(distractors))

    def _embed_piece(
        self,
        reference: Tensor | ImageFeatures,
        target: Tensor | ImageFeatures,
        text: TextTokens | TextFeatures,
        distractors: Tensor | ImageFeatures | None,
        with_reference: bool,
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        num_queries = len(reference) if isinstance(reference, Tensor) else len(reference.tokens)
        if isinstance(reference, Tensor):
            pictures = [reference, target] if distractors is None else [reference, target, distractors]
            features = self.backbone.encode_image(torch.cat(pictures))  # one call for all pictures
            reference, target = _slice(features, 0, num_queries), _slice(features, num_queries, 2 * num_queries)
            distractors = None if distractors is None else _slice(features, 2 * num_queries, None)
        words = self.backbone.encode_text(text) if isinstance(text, TextTokens) else text
        return (
            self.compose(reference, words),
            self.embed_image(target),
            self.embed_image(reference) if with_reference else None,
            None if distractors is None else self.embed_image(distractors),
        )

    def embed_queries(self, reference: Tensor, text: TextTokens) -> dict[str, Tensor]:
        """Query embeddings (B, E) by name: `model`, and the baselines `sum`, `image_only` and `text_only`.

        The baselines are the backbone's own shared-space embeddings, so `embed_gallery` gives their gallery too.
        """
        image, words = self.backbone.encode_image(reference), self.backbone.encode_text(text)
        image_only, text_only = (F.normalize(at_least_float32(part.embedding), dim=-1) for part in (image, words))
        return {
            "model": self.compose(image, words),
            "sum": F.normalize(image_only + text_only, dim=-1),
            "image_only": image_only,
            "text_only": text_only,
        }

    def embed_gallery(self, pixels: Tensor) -> dict[str, Tensor]:
        """Gallery embeddings (B, E): `model` in the model's own space, `baseline` in the backbone's shared space."""
        image = self.backbone.encode_image(pixels)
        return {"model": self.embed_image(image), "baseline": F.normalize(at_least_float32(image.embedding), dim=-1)}


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor in float32, or in float64 if it is: what is normalised and compared must not be in half precision."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _rows(batch: TripletBatch, start: int, stop: int) -> tuple:
    return tuple(_slice(part, start, stop) for part in (batch.reference, batch.target, batch.text))


def _slice(part, start: int, stop: int | None):
    """Rows of a tensor or of a dataclass of tensors, as views."""
    if isinstance(part, Tensor):
        return part[start:stop]
    rows = {name: value[start:stop] for name, value in vars(part).items() if isinstance(value, Tensor)}
    return type(part)(**rows)


def _split(pictures: Tensor | ImageFeatures | None, num_pieces: int) -> list:
    if pictures is None:
        return [None] * num_pieces
    total = len(pictures) if isinstance(pictures, Tensor) else len(pictures.tokens)
    bounds = [round(total * piece / num_pieces) for piece in range(num_pieces + 1)]
    return [_slice(pictures, start, stop) if stop > start else None for start, stop in pairwise(bounds)]


def _join(parts: tuple[Tensor | None, ...]) -> Tensor | None:
    present = [part for part in parts if part is not None]
    return torch.cat(present) if present else None

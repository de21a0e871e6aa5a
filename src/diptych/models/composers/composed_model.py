"""What every composed retrieval model shares: one tower call for all pictures of a batch, micro-batches, baselines.

Shape letters: B batch, E embedding width, P patches, L text tokens, N noun phrases.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import overload

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from diptych.contracts.models import Backbone, ImageFeatures, Moved, TextFeatures, TextTokens
from diptych.contracts.retrieval import (
    ConceptAttention,
    ConceptTokens,
    ContrastiveEmbeddings,
    PictureRows,
    TripletBatch,
)
from diptych.parallel.devices import sent

# Queries, targets, references, distractors, attention to noun phrases in their texts and alone.
Piece = tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None]


class ComposedModel(nn.Module):
    """A backbone and the rule that composes a query from its features; subclasses give `compose`.

    `embeds_text` says whether a text alone has an embedding among those of the gallery: the backbone's.
    `attends_to_words` says that there is a `compose_with_attention`; `stays_on_device`, that it cannot be moved once it
    is loaded; `no_onnx`, why it cannot be written as ONNX, where it cannot.
    """

    embeds_text = True
    attends_to_words = False
    stays_on_device = False
    no_onnx = ""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        if self.embeds_text and not backbone.embedding_dim:
            raise ValueError(f"the backbone {backbone.name} has no projections into a space of pictures and texts")
        self.backbone = backbone

    def load_pretrained(self, device: torch.device, weights_follow: bool = False) -> None:
        """Loads the backbone's pretrained weights, unless a checkpoint's follow, which replace them. The caller moves
        the model to the device.
        """
        if not weights_follow:
            self.backbone.load_pretrained()

    @abstractmethod
    def compose(self, image: ImageFeatures, text: TextFeatures) -> Tensor:
        """L2-normalised query embeddings (B, E)."""

    def compose_with_attention(self, image: ImageFeatures, text: TextFeatures) -> tuple[Tensor, Tensor]:
        """As `compose`, and how the picture's patches attend to the words (B, P, L): weights that sum to 1 over words.

        Raises:
            TypeError: the composer has no such weights.
        """
        raise TypeError(f"{type(self).__name__} has no attention from patches to words")

    def embed_image(self, image: ImageFeatures) -> Tensor:
        """L2-normalised gallery embeddings (B, E), in the space of the queries: the backbone's shared one, unless a
        subclass says otherwise.
        """
        return shared_embedding(image)

    def without_class_token(self, attention: Tensor) -> Tensor:
        """The attention of the patches, of that of all tokens of a picture (B, P or 1 + P, L)."""
        return attention[:, 1:] if self.backbone.image_tokens == "before_norm" else attention

    def forward(
        self,
        batch: TripletBatch,
        micro_batch_size: int | None = None,
        with_reference: bool = False,
        with_distractors: bool = False,
    ) -> ContrastiveEmbeddings:
        """Everything that the losses compare, of one batch; the attention to noun phrases if the batch has them.

        With `micro_batch_size` the batch is embedded piece by piece and each piece again in the backward pass
        (gradient caching, Gao et al. 2021): the result is that of the whole batch, the memory that of one piece.
        """
        size = micro_batch_size or len(batch.query_ids)
        starts = range(0, len(batch.query_ids), size)
        distractors = batch if with_distractors else replace(batch, distractors=None, distractor_keys=None)
        pieces = [_piece(distractors, start, size, number, len(starts)) for number, start in enumerate(starts)]
        if len(pieces) == 1 or not torch.is_grad_enabled():
            embedded = [self._embed_piece(piece, with_reference) for piece in pieces]
        else:
            # torch keeps the random states of those GPUs on which it finds tensors among the arguments, and does not
            # look into a batch: without its pixels the recomputation would draw other dropout masks than the first.
            embedded = [
                checkpoint(self._embed_piece, piece, with_reference, _tensor_of(piece.reference), use_reentrant=False)
                for piece in pieces
            ]
        query, target, reference, extra, in_text, alone = zip(*embedded, strict=True)
        attention = None if batch.concepts is None else ConceptAttention(torch.cat(in_text), torch.cat(alone))
        return ContrastiveEmbeddings(torch.cat(query), torch.cat(target), _join(reference), _join(extra), attention)

    def _embed_piece(self, batch: TripletBatch, with_reference: bool, on_device: Tensor | None = None) -> Piece:
        with _attention_kernel(batch.text.mask.device, self.backbone.activation_checkpointing):
            reference, target, distractors = self._encode_pictures(batch)
            words = self.backbone.encode_text(batch.text) if isinstance(batch.text, TextTokens) else batch.text
            if batch.concepts is None:
                query, in_text, alone = self.compose(reference, words), None, None
            else:
                query, attention = self.compose_with_attention(reference, words)
                in_text = _mean_of_words(attention[batch.concepts.rows], batch.concepts.in_text)
                alone = self._attention_to_concepts_alone(reference, batch.concepts)
            return (
                query,
                self.embed_image(target),
                self.embed_image(reference) if with_reference else None,
                None if distractors is None else self.embed_image(distractors),
                in_text,
                alone,
            )

    @torch.no_grad()
    def _attention_to_concepts_alone(self, reference: ImageFeatures, concepts: ConceptTokens) -> Tensor:
        """What each phrase's picture attends to when the phrase is the whole text (N, P), without a graph.

        In one call, also of no phrase at all: parts of a sharded model must be called equally often on every rank.
        """
        images = ImageFeatures(*(rows[concepts.rows] for rows in vars(reference).values()))
        words = self.backbone.encode_text(TextTokens(concepts.input_ids, concepts.mask))
        return _mean_of_words(self.compose_with_attention(images, words)[1], concepts.alone)

    def _encode_pictures(self, batch: TripletBatch) -> tuple[ImageFeatures, ImageFeatures, ImageFeatures | None]:
        """Features of references, targets and distractors, in one call; what occurs twice is encoded once."""
        reference, target, distractors = batch.reference, batch.target, batch.distractors
        if isinstance(reference, ImageFeatures):
            assert isinstance(target, ImageFeatures)  # all are, or none
            assert distractors is None or isinstance(distractors, ImageFeatures)
            return reference, target, distractors
        assert isinstance(reference, Tensor) and isinstance(target, Tensor)
        assert distractors is None or isinstance(distractors, Tensor)
        parts = [part for part in (reference, target, distractors) if part is not None]
        keys = [part for part in (batch.reference_keys, batch.target_keys, batch.distractor_keys) if part is not None]
        pixels, key = torch.cat(parts), torch.cat(keys)
        first, place = _first_occurrences(key)
        if len(first) < len(key):
            first, place = sent(first, pixels.device), sent(place, pixels.device)
            features = self._see(pixels[first])
            features = ImageFeatures(*(rows[place] for rows in vars(features).values()))
        else:
            features = self._see(pixels)
        num_queries = len(batch.query_ids)
        return (
            _slice(features, 0, num_queries),
            _slice(features, num_queries, 2 * num_queries),
            None if distractors is None else _slice(features, 2 * num_queries, None),
        )

    def _see(self, pixels: Tensor) -> ImageFeatures:
        """What training wants of pictures: all that the backbone finds."""
        return self.backbone.encode_image(pixels)

    def embed_queries(self, reference: Tensor | None, text: TextTokens | None) -> dict[str, Tensor]:
        """Query embeddings (B, E) by name: `model`, and the baselines `sum`, `image_only` and `text_only`; of pictures
        or texts alone only their own baseline.

        The baselines are the backbone's own shared-space embeddings, so `embed_gallery` gives their gallery too. A
        backbone that has no such space (`embedding_dim` 0) has no baselines.
        """
        image = None if reference is None else self.backbone.encode_image(reference)
        words = None if text is None else self.backbone.encode_text(text)
        embedded = {
            name: shared_embedding(part)
            for name, part in (("image_only", image), ("text_only", words))
            if part is not None and self.backbone.embedding_dim
        }
        if image is not None and words is not None:
            embedded["model"] = self.compose(image, words)
            if self.backbone.embedding_dim:
                embedded["sum"] = F.normalize(embedded["image_only"] + embedded["text_only"], dim=-1)
        return embedded

    def embed_gallery(self, pixels: Tensor) -> dict[str, Tensor]:
        """Gallery embeddings (B, E): `model` in the model's own space, `baseline` in the backbone's shared space, if it
        has one.
        """
        image = self.backbone.encode_image(pixels)
        embedded = {"model": self.embed_image(image)}
        if self.backbone.embedding_dim:
            embedded["baseline"] = shared_embedding(image)
        return embedded


def _mean_of_words(attention: Tensor, words: Tensor) -> Tensor:
    """Attention (N, P, L) averaged over the words (N, L) that are True, one or more in every row: (N, P)."""
    attention = at_least_float32(attention)
    return (attention * words[:, None]).sum(dim=-1) / words.sum(dim=-1, keepdim=True)


def shared_embedding(features: ImageFeatures | TextFeatures) -> Tensor:
    """L2-normalised embeddings (B, E) in the backbone's space of pictures and texts."""
    return F.normalize(at_least_float32(features.embedding), dim=-1)


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor in float32, or in float64 if it is: what is normalised and compared must not be in half precision."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _attention_kernel(device: torch.device, recomputed: bool) -> AbstractContextManager[None]:
    """Plain matrix products on the CPU: at a ViT-B/32's 50 patches the fused kernel's backward pass takes longer.

    Not if the backward pass computes layers again: it does so outside this context, and must find the same kernel.
    """
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" and not recomputed else nullcontext()


def _tensor_of(pictures: Tensor | ImageFeatures | PictureRows) -> Tensor:
    assert not isinstance(pictures, PictureRows)  # the transfer has put pixels in their place
    return pictures if isinstance(pictures, Tensor) else pictures.tokens


def _first_occurrences(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Where each distinct key occurs first, in that order, and for every key its place among them.

    Not in the order of the keys: they are hashes of paths, and the data's folder must not decide the order of sums.
    """
    distinct, place = keys.unique(return_inverse=True)
    rows = torch.arange(len(keys), device=keys.device)
    first = torch.full_like(distinct, len(keys)).scatter_reduce_(0, place, rows, "amin")
    first, order = first.sort()
    return first, order.argsort()[place]


def _piece(batch: TripletBatch, start: int, size: int, number: int, num_pieces: int) -> TripletBatch:
    """The triplets from `start` on, with this piece's share of the distractors: no piece is larger than the others."""
    stop = start + size
    distractors: Tensor | ImageFeatures | PictureRows | None = None
    keys: Tensor | None = None
    if batch.distractors is not None and batch.distractor_keys is not None:
        first, last = (round(len(batch.distractor_keys) * n / num_pieces) for n in (number, number + 1))
        if last > first:
            distractors, keys = _slice(batch.distractors, first, last), batch.distractor_keys[first:last]
    return TripletBatch(
        query_ids=batch.query_ids[start:stop],
        reference=_slice(batch.reference, start, stop),
        target=_slice(batch.target, start, stop),
        text=_slice(batch.text, start, stop),
        reference_keys=batch.reference_keys[start:stop],
        target_keys=batch.target_keys[start:stop],
        distractors=distractors,
        distractor_keys=keys,
        concepts=None if batch.concepts is None else _concepts_of(batch.concepts, start, stop),
    )


def _concepts_of(concepts: ConceptTokens, start: int, stop: int) -> ConceptTokens:
    """The phrases of the texts from `start` to `stop`; they lie in the order of their texts."""
    bounds = torch.tensor([start, stop], device=concepts.rows.device)
    first, last = torch.searchsorted(concepts.rows, bounds).tolist()
    piece = _slice(concepts, first, last)
    return replace(piece, rows=piece.rows - start)


@overload
def _slice(part: Tensor, start: int, stop: int | None) -> Tensor: ...


@overload
def _slice(part: Moved, start: int, stop: int | None) -> Moved: ...


def _slice(part: Tensor | Moved, start: int, stop: int | None) -> Tensor | Moved:
    """Rows of a tensor or of a dataclass of tensors, as views."""
    if isinstance(part, Tensor):
        return part[start:stop]
    rows = {name: value[start:stop] for name, value in vars(part).items() if isinstance(value, Tensor)}
    return type(part)(**rows)


def _join(parts: tuple[Tensor | None, ...]) -> Tensor | None:
    present = [part for part in parts if part is not None]
    return torch.cat(present) if present else None

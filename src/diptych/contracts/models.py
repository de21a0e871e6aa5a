"""Models and what they exchange: preprocessing, features, batches that move, backbones, encoders, systems."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:  # records are read by programs that need no tensors, and torch takes seconds to import
    import numpy as np
    import torch
    from torch import Tensor, nn


_LARGEST_PICTURE = 4096


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """How a backbone wants its pictures: `size` pixels square, resized, cropped, later normalised by mean and std.

    `resize` is `shortest` (short side to `size`, then centre crop) or `squash` (both sides to `size`). `target_pad`
    is None, or the ratio of long to short side above which black bars are added first (1.25 in CLIP4Cir and SEARLE).
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    resize: str = "shortest"
    target_pad: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.size <= _LARGEST_PICTURE:
            raise ValueError(
                f"image_size={self.size}: a backbone wants pictures of 1 to {_LARGEST_PICTURE} pixels a side"
            )


Moved = TypeVar("Moved", bound="Movable")


class Preprocessing(Protocol):
    """The backbone's own image settings and tokenizer, cheap to build: no weights."""

    image: ImageSpec

    def tokenize(self, texts: Sequence[str]) -> TextTokens:
        """Token ids padded to the longest text of the batch, with the mask of real tokens."""


# `field(metadata=ON_HOST)`: what the host decides by, so that it need not wait for a GPU to know it.
ON_HOST = {"on_host": True}


@dataclass(frozen=True)
class Movable:
    """Moves every tensor (or movable) field; what Lightning and pinned-memory loaders look for."""

    def to(self: Moved, *args: Any, **kwargs: Any) -> Moved:
        """A copy with every tensor moved as `Tensor.to` moves it, but for fields marked `ON_HOST`. The host does not
        wait for what goes to a GPU; Lightning asks for that of plain tensors alone.
        """
        target = args[0] if args else kwargs.get("device")
        if str(target).startswith("cuda"):
            kwargs.setdefault("non_blocking", True)
        return self._map("to", *args, **kwargs)

    def pin_memory(self: Moved) -> Moved:
        """A copy in page-locked memory."""
        return self._map("pin_memory")

    def _map(self: Moved, method: str, *args: Any, **kwargs: Any) -> Moved:
        from torch import Tensor

        moved = {}
        for item in fields(self):
            value = getattr(self, item.name)
            stays = method == "to" and item.metadata.get("on_host")
            if isinstance(value, (Tensor, Movable)) and not stays:
                moved[item.name] = getattr(value, method)(*args, **kwargs)
        return replace(self, **moved)


@dataclass(frozen=True)
class TextTokens(Movable):
    """`input_ids` (B, L) int64 and `mask` (B, L) bool, True on real tokens. `num_truncated` texts lost their end."""

    input_ids: Tensor
    mask: Tensor
    num_truncated: int = 0


@dataclass(frozen=True)
class ImageFeatures(Movable):
    """`tokens` (B, P, D) patch features, or what the backbone's `image_tokens` says, `embedding` (B, E) in the shared
    space and `pooled` (B, D) before the projection into it; none is normalised.
    """

    tokens: Tensor
    embedding: Tensor
    pooled: Tensor


@dataclass(frozen=True)
class TextFeatures(Movable):
    """`tokens` (B, L, D) text features with their `mask` (B, L), and `embedding` (B, E), not normalised."""

    tokens: Tensor
    mask: Tensor
    embedding: Tensor


class Backbone(Protocol):
    """A pretrained tower for pictures and one for texts with a shared space: an nn.Module, on which composers build.

    Construction builds the architecture with random weights and loads nothing: a model that is restored from a
    checkpoint downloads nothing that it is about to overwrite.

    - `name` stands for the architecture; `preprocessing` describes what the towers were trained on.
    - `vision_dim` is the width of an image's tokens and of `pooled`, `text_dim` that of a text's tokens,
      `embedding_dim` that of both embeddings, 0 where it has no shared space.
    - `image_tokens` says which tokens of a picture it gives, where it can give several kinds.
    - A tower that is frozen runs without a graph. With `activation_checkpointing` layers are computed again in the
      backward pass.

    The last five members are nn.Module's own.
    """

    name: str
    preprocessing: Preprocessing
    vision_dim: int
    text_dim: int
    embedding_dim: int
    image_tokens: str
    vision_frozen: bool
    text_frozen: bool
    activation_checkpointing: bool

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    def load_pretrained(self) -> None:
        """Fills in the published weights; nothing where there are none. ValueError says what is missing."""

    def encode_image(self, pixels: Tensor) -> ImageFeatures:
        """Features of uint8 pixels (B, 3, H, W), which it normalises itself."""

    def encode_text(self, tokens: TextTokens) -> TextFeatures:
        """Features of tokens (B, L). No real token's features depend on pads; the mask travels on."""

    def freeze_image_projection(self) -> None:
        """Excludes the image's projection into the shared space from training, for composers that do not use it:
        distributed training waits for every gradient.
        """

    def freeze_text_projection(self) -> None:
        """Excludes the text's projection into the shared space from training, for composers that read tokens only."""

    def freeze_text_tower(self) -> None:
        """Excludes the whole text tower from training, for composers that read no text."""

    training: bool

    def train(self, mode: bool = True) -> Any:
        """Switches to training."""

    def to(self, device: torch.device | str) -> Any:
        """Moves the weights."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """The weights by name."""

    def named_modules(self) -> Iterable[tuple[str, nn.Module]]:
        """The parts by name."""


class ImageIndex(Protocol):
    """Finds the nearest of many vectors."""

    def search(self, queries: Tensor | np.ndarray, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions int64 and scores float32 (Q, K) of the first K of `vectors` (G, E) for each of `queries` (Q, E) by
        inner product, best first; K is `k`, or G if that is smaller. A row may end in positions -1 where the index
        finds no more.
        """


class PhotoEncoder(Protocol):
    """Photos and texts to embeddings of one space: an nn.Module that owns its transform and tokenizer.

    Construction reads and loads nothing heavy; `load` fills in the weights.
    """

    @property
    def transform(self) -> Callable[[Tensor], Any]:
        """uint8 pixels (3, H, W) of any size to what `embed_images` takes one of: a tensor, or a dict of tensors, of
        equal shapes for all photos. Can be pickled; holds no weights.
        """

    def load(self) -> None:
        """Loads the weights. ValueError says what is missing or does not fit."""

    def embed_images(self, inputs: Any) -> Tensor:
        """L2-normalised float32 embeddings (B, E) of stacked transformed photos, on the module's device."""

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """L2-normalised float32 embeddings (B, E); ValueError by encoders that read no text."""


class QueryEncoder(PhotoEncoder, Protocol):
    """One that also embeds queries of composed retrieval: a picture with a text that says what is to be otherwise."""

    def embed_queries(self, paths: Sequence[Path], texts: Sequence[str]) -> Tensor:
        """L2-normalised float32 embeddings (B, E), on the CPU, to search those of `embed_images` with."""


class TrainableSystem(Protocol):
    """What the commands ask of a system, which is a LightningModule.

    `kind` says what it does (`retrieval`, `captions`) and with which data it goes, whose `kind` is the same. `wants`
    names parts of a training batch that only some losses look at (`distractors`), so that data loads no others.
    `model` is what is trained; a retrieval model has its `Backbone` in `backbone`. `metrics` are those of an
    evaluation. `MEMORY_SETTINGS` says which settings to lower when memory is short.
    """

    kind: str
    MEMORY_SETTINGS: str
    model: Any
    metrics: Mapping[str, Any]

    @property
    def wants(self) -> frozenset[str]:
        """The parts of a batch that are not loaded unless they are asked for."""

    def load_pretrained(self, device: torch.device, weights_follow: bool = False) -> None:
        """Loads pretrained weights; of what a checkpoint will replace it need not, when `weights_follow`."""

    def mode_of(self, metric: str) -> str:
        """`max` or `min`: which values of a metric that a validation has logged are the best. ValueError if the metric
        does not say.
        """

    def parameters(self) -> Iterable[nn.Parameter]:
        """All parameters: nn.Module's."""

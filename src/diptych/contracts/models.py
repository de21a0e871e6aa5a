"""Models and what they exchange: preprocessing, features, batches that move, encoders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # records are read by programs that need no tensors, and torch takes seconds to import
    import numpy as np
    from torch import Tensor


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


class Preprocessing(Protocol):
    """The backbone's own image settings and tokenizer, cheap to build: no weights."""

    image: ImageSpec

    def tokenize(self, texts: Sequence[str]) -> TextTokens:
        """Token ids padded to the longest text of the batch, with the mask of real tokens."""


class Movable:
    """Moves every tensor (or movable) field; what Lightning and pinned-memory loaders look for."""

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """A copy with every tensor moved as `Tensor.to` moves it."""
        return self._map("to", *args, **kwargs)

    def pin_memory(self) -> Any:
        """A copy in page-locked memory."""
        return self._map("pin_memory")

    def _map(self, method: str, *args: Any, **kwargs: Any) -> Any:
        from torch import Tensor

        moved = {}
        for item in fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            if isinstance(value, (Tensor, Movable)):
                moved[item.name] = getattr(value, method)(*args, **kwargs)
        return replace(self, **moved)  # type: ignore[type-var]


@dataclass(frozen=True)
class TextTokens(Movable):
    """`input_ids` (B, L) int64 and `mask` (B, L) bool, True on real tokens. `num_truncated` texts lost their end."""

    input_ids: Tensor
    mask: Tensor
    num_truncated: int = 0


@dataclass(frozen=True)
class ImageFeatures(Movable):
    """`tokens` (B, P, D) patch features, `embedding` (B, E) in the shared space and `pooled` (B, D) before the
    projection into it; neither is normalised.
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


class ImageEncoder(Protocol):
    """Pictures to features; owns its preprocessing."""

    preprocessing: Preprocessing

    def encode_image(self, pixels: Tensor) -> ImageFeatures:
        """Features of uint8 pixels (B, 3, H, W); normalises them itself."""


class TextEncoder(Protocol):
    """Texts to features; owns its tokenizer."""

    preprocessing: Preprocessing

    def encode_text(self, tokens: TextTokens) -> TextFeatures:
        """Features of tokens; pads are masked."""


class Composer(Protocol):
    """Reference image + modification text -> query embedding; gallery image -> embedding of the same space (B, E)."""

    def compose(self, image: ImageFeatures, text: TextFeatures) -> Tensor:
        """L2-normalised query embeddings (B, E)."""

    def embed_image(self, image: ImageFeatures) -> Tensor:
        """L2-normalised gallery embeddings (B, E)."""


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

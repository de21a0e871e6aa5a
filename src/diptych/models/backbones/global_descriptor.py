"""Photo encoders without weights: what is where in a picture, by colour or by edges. Baselines, and for trying out.

Shape letters: B batch, S side of the small picture, G cells along a side, N bins of orientation, E embedding width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.contracts.models import ImageSpec
from diptych.photos.photo_transform import PhotoTransform

_SRGB_TO_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
_WHITE = (0.9505, 1.0, 1.089)  # D65, the row sums of the matrix
_LUMA = (0.299, 0.587, 0.114)
_MIN_DEVIATION = 1.0  # in units of L*a*b*, about the least difference that is seen: below it is noise
_CLIP = 0.2


class _GlobalDescriptor(nn.Module):
    """What both have in common: a small picture, no weights, no text."""

    one: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.image = ImageSpec(size, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), interpolation="bilinear", resize="squash")
        # Knows the device, and is the last component of every embedding: all that a picture without contrast has.
        self.register_buffer("one", torch.ones(1), persistent=False)

    @property
    def transform(self) -> Callable[[Tensor], Tensor]:
        """uint8 pixels (3, H, W) to uint8 pixels (3, S, S)."""
        return PhotoTransform(self.image)

    def load(self) -> None:
        """Nothing: there are no weights."""

    def embed_images(self, inputs: Tensor) -> Tensor:
        """L2-normalised float32 embeddings (B, E) of transformed photos (B, 3, S, S); the same for all blank photos."""
        description = self.describe(inputs.to(self.one.device).float() / 255)
        return F.normalize(torch.cat([description, self.one.expand(len(description), 1)], dim=1), dim=1)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """ValueError: colours and edges read no text."""
        raise ValueError(f"{type(self).__name__} reads no text; choose an encoder with a text tower, such as clip_b32")

    def describe(self, pictures: Tensor) -> Tensor:
        """The description (B, E - 1) of RGB pictures (B, 3, S, S) from 0 to 1, before it is normalised."""
        raise NotImplementedError


class ColourLayout(_GlobalDescriptor):
    """The mean colour of every cell of a grid, in L*a*b*, each channel without its mean and scaled to deviation 1.

    After MPEG-7's colour layout descriptor (ISO/IEC 15938-3; Kasutani and Yamada, ICIP 2001), which keeps the low
    frequencies of 8 x 8 mean colours in YCbCr; here the colours themselves are kept, in CIE 1976 L*a*b* (D65), and
    light and cast are taken out. Embeddings have 3 G^2 + 1 components.
    """

    def __init__(self, grid: int = 8) -> None:
        if grid < 2:
            raise ValueError(f"grid={grid}: a layout needs at least 2 cells a side")
        super().__init__(8 * grid)
        self.grid = grid

    def describe(self, pictures: Tensor) -> Tensor:
        """Cell colours (B, 3 G^2), channel by channel."""
        cells = F.avg_pool2d(_to_lab(pictures), self.image.size // self.grid).flatten(2)
        deviation = cells.std(dim=2, correction=0, keepdim=True).clamp(min=_MIN_DEVIATION)
        return ((cells - cells.mean(dim=2, keepdim=True)) / deviation).flatten(1)


class OrientedGradients(_GlobalDescriptor):
    """Histograms of oriented gradients of a small grey picture (Dalal and Triggs, CVPR 2005).

    Their defaults: centred differences, `num_bins` unsigned orientations, a gradient's weight split between the two
    nearest, blocks of 2 x 2 cells at every cell, each clipped and normalised twice (L2-Hys); here the gradients are not
    shared among cells, and the whole is normalised. `cells` cells a side, of `cell_size` pixels; embeddings have
    4 N (G - 1)^2 + 1 components.
    """

    def __init__(self, cells: int = 6, cell_size: int = 16, num_bins: int = 9) -> None:
        if cells < 2 or cell_size < 2 or num_bins < 2:
            raise ValueError(f"encoder: cells={cells}, cell_size={cell_size}, num_bins={num_bins} must be at least 2")
        super().__init__(cells * cell_size)
        self.cell_size, self.num_bins = cell_size, num_bins

    def describe(self, pictures: Tensor) -> Tensor:
        """Block histograms (B, 4 N (G - 1)^2)."""
        grey = (pictures * _column(_LUMA, pictures)).sum(dim=1, keepdim=True)
        framed = F.pad(grey, (1, 1, 1, 1), mode="replicate")
        dx = framed[..., 1:-1, 2:] - framed[..., 1:-1, :-2]
        dy = framed[..., 2:, 1:-1] - framed[..., :-2, 1:-1]
        magnitude = torch.hypot(dx, dy)
        # in bins, from 0 to N; the centre of bin n lies at n + 1/2
        angle = torch.remainder(torch.atan2(dy, dx), math.pi) * (self.num_bins / math.pi)
        centres = torch.arange(self.num_bins, device=angle.device).view(-1, 1, 1) + 0.5
        away = (angle - centres).abs()
        away = torch.minimum(away, self.num_bins - away)  # orientations go round
        histograms = F.avg_pool2d(magnitude * (1 - away).clamp(min=0), self.cell_size)
        blocks = F.unfold(histograms, 2)  # (B, 4 N, (G - 1)^2)
        blocks = _normalise_blocks(_normalise_blocks(blocks).clamp(max=_CLIP))
        return blocks.flatten(1)


def _normalise_blocks(blocks: Tensor) -> Tensor:
    # 0.001 of a picture's range: blocks without edges stay near zero instead of blowing up their noise
    return blocks / (blocks.square().sum(dim=1, keepdim=True) + 1e-6).sqrt()


def _to_lab(pictures: Tensor) -> Tensor:
    """sRGB (B, 3, S, S) from 0 to 1 to CIE 1976 L*a*b* under D65, L* from 0 to 100."""
    linear = torch.where(pictures <= 0.04045, pictures / 12.92, ((pictures + 0.055) / 1.055) ** 2.4)
    matrix = torch.tensor(_SRGB_TO_XYZ, device=pictures.device)
    relative = torch.einsum("ij,bjhw->bihw", matrix, linear) / _column(_WHITE, pictures)
    low = (6 / 29) ** 3
    root = torch.where(relative > low, relative.clamp(min=low) ** (1 / 3), relative * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = root.unbind(dim=1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def _column(values: tuple[float, float, float], like: Tensor) -> Tensor:
    return torch.tensor(values, device=like.device).view(3, 1, 1)

"""The two networks of a reader: one looks at a picture, the other at two.

B pictures, S pixels a side, F fields, V values of all fields together.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from diptych.synthetic.reader.fields import FIELDS

SIDE = 48  # pixels, to which every picture is reduced
_NUM_VALUES = [len(field.values) for field in FIELDS]
_HIDDEN = 256


class _Trunk(nn.Sequential):
    """(B, 3, S, S) of uint8 to (B, `size`): four convolutions, each of half the side. Where something is counts, so the
    last one's places are kept apart.
    """

    def __init__(self, width: int) -> None:
        layers: list[nn.Module] = []
        channels = 3
        for wider in (width, 2 * width, 4 * width, 4 * width):
            layers += [nn.Conv2d(channels, wider, 3, stride=2, padding=1), nn.BatchNorm2d(wider), nn.ReLU()]
            channels = wider
        super().__init__(*layers, nn.Flatten(), nn.Dropout(0.2))
        self.size = 4 * width * (SIDE // 16) ** 2

    def forward(self, pictures: Tensor) -> Tensor:
        return cast(Tensor, super().forward(pictures.float() / 127.5 - 1))


class PictureNetwork(nn.Module):
    """Says of one picture what each field is."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.trunk = _Trunk(width)
        self.head = nn.Linear(self.trunk.size, sum(_NUM_VALUES))

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, S, S) to the logits (B, values) of every field."""
        return by_field(self.head(self.trunk(pictures)))


class PairNetwork(nn.Module):
    """Says of two pictures which fields changed, and what each is in either."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.trunk = _Trunk(width)
        num_outputs = len(FIELDS) + 2 * sum(_NUM_VALUES)
        self.head = nn.Sequential(nn.Linear(3 * self.trunk.size, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, num_outputs))

    def forward(self, before: Tensor, after: Tensor) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Twice (B, 3, S, S) to the log-odds of changes (B, F), and the logits of every field before and after."""
        one, other = self.trunk(torch.cat([before, after])).chunk(2)
        output = self.head(torch.cat([one, other, one - other], dim=1))
        changed, old, new = output.split([len(FIELDS), sum(_NUM_VALUES), sum(_NUM_VALUES)], dim=1)
        return changed, by_field(old), by_field(new)


def by_field(values: Tensor) -> tuple[Tensor, ...]:
    """(B, V) to (B, values) of every field."""
    return values.split(_NUM_VALUES, dim=1)

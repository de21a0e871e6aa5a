"""Picture files to batches of pixels, by worker processes; those that cannot be read come with the reason.

Shape letters: B pictures of a batch, S the model's input size.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from diptych.contracts.retrieval import GalleryImage
from diptych.parallel.loader_workers import QuietLoader

_MOST_WORKERS = 8
PictureReader = Callable[[Path], Tensor]


@dataclass(frozen=True)
class PictureBatch:
    """`pixels` (B, 3, S, S), uint8, of the images at `positions` (B of them; None if there are none), and by position
    why others could not be read.
    """

    positions: Sequence[int]
    pixels: Tensor | None
    unreadable: dict[int, str]


def picture_batches(
    images: Sequence[GalleryImage], reader: PictureReader, batch_size: int, num_workers: int | None
) -> Iterable[PictureBatch]:
    """All images, in their order; `reader` decodes one, in `num_workers` processes (None: one a processor, at most
    eight). What fits into one batch is read without any.
    """
    if num_workers is None:
        num_workers = min(len(os.sched_getaffinity(0)), _MOST_WORKERS)
    return QuietLoader(
        _Pictures(images, reader),
        batch_size=batch_size,
        collate_fn=_collate,
        num_workers=num_workers if len(images) > batch_size else 0,
    )


class _Pictures(Dataset[tuple[int, Tensor | str]]):
    """The position of each image with its pixels, or with the reason why there are none."""

    def __init__(self, images: Sequence[GalleryImage], reader: PictureReader) -> None:
        self.images, self.reader = images, reader

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: int) -> tuple[int, Tensor | str]:
        try:
            return position, self.reader(self.images[position].path)
        except ValueError as error:
            return position, str(error)


def _collate(rows: Sequence[tuple[int, Tensor | str]]) -> PictureBatch:
    read = [(position, found) for position, found in rows if isinstance(found, Tensor)]
    return PictureBatch(
        positions=[position for position, _ in read],
        pixels=torch.stack([pixels for _, pixels in read]) if read else None,
        unreadable={position: found for position, found in rows if isinstance(found, str)},
    )

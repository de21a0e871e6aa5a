"""The training pictures on the device that trains: loaded once, then batches name them by their rows.

From disk to loss: `load_pictures` reads every picture through the reader and its cache; `TripletDataset` gives rows and
the random numbers of the augmentation, where it would else give pixels; the datamodule's transfer puts the pixels of
`ResidentPictures` in their place, and the model sees a batch like any other.

Shape letters: N pictures, S their size in pixels, R random numbers of a picture's augmentation.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn import Parameter
from torch.utils.data import Dataset

from diptych.contracts.retrieval import PictureRows, TripletBatch
from diptych.data.triplets.augmentation import Augmentation, BatchAugmentation, num_random
from diptych.parallel.devices import on_gpu, sent
from diptych.parallel.loader_workers import QuietLoader
from diptych.photos.images import ImageReader
from diptych.storage.room import size_in_words

log = logging.getLogger(__name__)

PLACES = ("auto", "gpu", "host")  # where the pictures of a training may be
SHARE = 0.25  # of the memory that the model leaves, for pictures; the rest is for activations
_TRAINED, _FROZEN = 16, 4  # bytes of a parameter: float32, with gradient and AdamW's two moments
_LOADED, _AUGMENTED = 32, 256  # pictures at a time: little of /dev/shm, and of the device's memory in float32


class ResidentPictures:
    """Pictures on a device, uint8 (N, 3, S, S), each once; `rows` says where each file's is."""

    def __init__(self, pixels: Tensor, rows: Mapping[Path, int], augmentation: BatchAugmentation | None) -> None:
        self.pixels, self.rows, self.augmentation = pixels, rows, augmentation

    @property
    def num_random(self) -> int:
        """R: the numbers that the augmentation takes for a picture."""
        return num_random(self.augmentation) or 0

    def in_place_of_rows(self, batch: TripletBatch) -> TripletBatch:
        """The batch with its pictures' pixels, augmented. What occurs twice is gathered and augmented once."""
        parts = {name: getattr(batch, name) for name in ("reference", "target", "distractors")}
        parts = {name: part for name, part in parts.items() if isinstance(part, PictureRows)}
        if not parts:
            return batch
        rows, random = (torch.cat([getattr(part, name) for part in parts.values()]) for name in ("rows", "random"))
        distinct, place = rows.unique(return_inverse=True)
        random = random.new_empty(len(distinct), self.num_random).index_copy(0, place, random)  # equal for equal rows
        device = self.pixels.device
        pixels = self._gathered(sent(distinct, device), random)[sent(place, device)]
        sizes = [len(part.rows) for part in parts.values()]
        return replace(batch, **dict(zip(parts, pixels.split(sizes), strict=True)))

    def _gathered(self, rows: Tensor, random: Tensor) -> Tensor:
        if self.augmentation is None:
            return self.pixels[rows]
        pieces = zip(rows.split(_AUGMENTED), random.split(_AUGMENTED), strict=True)
        return torch.cat([self.augmentation.of_batch(self.pixels[piece], numbers) for piece, numbers in pieces])


def check_place(place: str, augmentation: Augmentation | None) -> None:
    """ValueError where pictures are to be on a GPU, and there is none, or their augmentation cannot work there."""
    if place == "gpu" and not on_gpu():
        raise ValueError("data.images_on=gpu, and training is on the CPU: set data.images_on=auto")
    if place == "gpu" and num_random(augmentation) is None:
        raise ValueError(f"data.images_on=gpu, but {_without_batches(augmentation)}; set data.images_on=host")


def check_no_pictures_on_gpu(place: str, reason: str) -> None:
    """For data whose pictures are not kept: says so in the log where a GPU might have room for them; ValueError where
    they must be there.
    """
    if place == "gpu":
        raise ValueError(f"data.images_on=gpu, but {reason}: set data.images_on=auto, or data/training=files")
    if place == "auto" and on_gpu():
        log.info("no pictures are kept on the GPU: %s", reason)


def wanted_on(device: torch.device, place: str, augmentation: Augmentation | None) -> bool:
    """Whether pictures go to the device if they fit; the log says which augmentation keeps them on the host."""
    if place == "host" or device.type != "cuda":
        return False
    if num_random(augmentation) is None:
        log.info("pictures stay on the host: %s", _without_batches(augmentation))
        return False
    return True


def fits_on(device: torch.device, num_pictures: int, size: int, parameters: Iterable[Parameter], place: str) -> bool:
    """Whether so many pictures of `size` pixels fit beside a model that is still on the host; the log says the numbers.

    `auto`: they take `SHARE` or less of what is free on the GPU and the model will not take, which is 16 bytes for each
    parameter that is trained and 4 for each other. `gpu`: they may take all of it.

    Raises:
        ValueError: `gpu`, and they take more; says the numbers.
    """
    wanted = num_pictures * 3 * size**2
    model = sum(part.numel() * (_TRAINED if part.requires_grad else _FROZEN) for part in parameters)
    torch.cuda.empty_cache()  # what an earlier training of this process has left is free
    free = torch.cuda.mem_get_info(device)[0]
    numbers = (
        f"{num_pictures} pictures of {size} x {size} pixels take {size_in_words(wanted)}; of {size_in_words(free)} free"
        f" on {device} the model and its optimizer take {size_in_words(model)}"
    )
    if wanted <= (free - model) * (SHARE if place == "auto" else 1):
        log.info("pictures are kept on the GPU: %s", numbers)
        return True
    if place == "gpu":
        raise ValueError(f"data.images_on=gpu, and they do not fit: {numbers}; set data.images_on=host")
    log.info("pictures stay on the host: %s, and they may take %g of the rest", numbers, SHARE)
    return False


def _without_batches(augmentation: Augmentation | None) -> str:
    name = getattr(augmentation, "__name__", type(augmentation).__name__)
    return f"data.training.augmentation={name} has no num_random and of_batch, with which it could work on a GPU"


def load_pictures(
    paths: Sequence[Path],
    reader: ImageReader,
    augmentation: Augmentation | None,
    device: torch.device,
    num_workers: int,
) -> ResidentPictures:
    """The pictures of these files on the device, with an augmentation that is `wanted_on` it. Errors are the reader's.

    Each process begins at another place: together they fill an empty cache, and do not all decode the same.
    """
    rank: int = rank_zero_only.rank  # type: ignore[attr-defined]  # set out of mypy's sight, before process groups
    first = int(len(paths) * (rank * 0.618 % 1))  # far apart for any number of processes: the golden ratio
    paths = [*paths[first:], *paths[:first]]
    size = reader.spec.size
    pixels = torch.empty(len(paths), 3, size, size, dtype=torch.uint8, device=device)
    batches = QuietLoader(
        Pictures(paths, reader),
        batch_size=_LOADED,
        num_workers=num_workers,
        batch_bytes=_LOADED * 3 * size**2,
        pin_memory=device.type == "cuda",
    )
    places = track(pixels.split(_LOADED), f"pictures to {device}", console=Console(stderr=True), disable=rank > 0)
    for place, batch in zip(places, batches, strict=True):
        place.copy_(batch, non_blocking=True)
    rows = {path: row for row, path in enumerate(paths)}
    return ResidentPictures(pixels, rows, cast(BatchAugmentation | None, augmentation))


class Pictures(Dataset[Tensor]):
    """Prepared pixels of image files."""

    def __init__(self, paths: Sequence[str | Path], reader: ImageReader) -> None:
        self.paths, self.reader = paths, reader

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, position: int) -> Tensor:
        return self.reader(self.paths[position])

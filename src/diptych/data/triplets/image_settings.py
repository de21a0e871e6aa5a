"""How a run reads its pictures: one section for training and evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from diptych.contracts.models import ImageSpec
from diptych.photos.images import ImageReader


@dataclass(frozen=True)
class ImageSettings:
    """`cache` is a folder for images that are prepared once, `decoder` is `fast` or `exact` (`ImageReader`).

    `on_missing` says what a missing image does: `error` refuses to start, `drop` leaves out what cannot be read and
    marks the protocol partial.

    Raises:
        ValueError: `on_missing` is neither.
    """

    writes: ClassVar[Mapping[str, str]] = {"cache": "*px-*/*"}  # see config/written_places.py

    cache: str | None = None
    decoder: str = "fast"
    on_missing: str = "error"

    def __post_init__(self) -> None:
        if self.on_missing not in ("error", "drop"):
            raise ValueError(f"data.images.on_missing={self.on_missing!r} is not one of error, drop")

    def reader(self, image: ImageSpec) -> ImageReader:
        """What reads pictures as a backbone wants them."""
        return ImageReader(image, decoder=self.decoder, cache_dir=self.cache)

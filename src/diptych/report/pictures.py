"""Thumbnails for the report: each file is read once, and a file that cannot be read gives None, never an error."""

from __future__ import annotations

import base64
import io
import logging
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

logger = logging.getLogger(__name__)

THUMBNAIL_SIZE = 160
_JPEG_QUALITY = 80


class Thumbnails:
    """Reads pictures as RGB thumbnails with a longest side of at most `THUMBNAIL_SIZE` pixels, and keeps them.

    `unreadable` collects the files that could not be read, in the order in which they were asked for.
    """

    def __init__(self) -> None:
        self.unreadable: list[Path] = []
        self._images: dict[Path, Image.Image | None] = {}

    def load(self, path: Path | None) -> Image.Image | None:
        """The picture, upright and RGB; None if there is no such file or no decoder can read it."""
        if path is None:
            return None
        if path not in self._images:
            self._images[path] = self._read(path)
        return self._images[path]

    def data_uri(self, path: Path | None) -> str | None:
        """The thumbnail as a JPEG in a `data:` address, or None as in `load`."""
        image = self.load(path)
        if image is None:
            return None
        buffer = io.BytesIO()
        image.save(buffer, format="JPEG", quality=_JPEG_QUALITY, optimize=True)
        return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")

    def _read(self, path: Path) -> Image.Image | None:
        try:
            with Image.open(path) as image:
                image.draft("RGB", (2 * THUMBNAIL_SIZE, 2 * THUMBNAIL_SIZE))  # lets the JPEG decoder skip detail
                upright = ImageOps.exif_transpose(image)
                rgb = _eight_bits(upright).convert("RGB")
            rgb.thumbnail((THUMBNAIL_SIZE, THUMBNAIL_SIZE))
            return rgb
        except (
            Exception
        ) as error:  # decoders raise anything on damaged files; a finished evaluation must not die of one
            logger.debug("A grey tile in the report for %s: %s", path, error)
            self.unreadable.append(path)
            return None


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit greyscale scaled to 8 bits: Pillow's own conversion clips it to white."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image).clip(0, 65535) // 256).astype(np.uint8))

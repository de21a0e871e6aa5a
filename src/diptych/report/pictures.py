"""Thumbnails for the report: each file is read once, and a file that cannot be read gives None, never an error."""

from __future__ import annotations

import base64
import io
import logging
from pathlib import Path

from PIL import Image

from diptych.photos.images import read_image

log = logging.getLogger(__name__)

THUMBNAIL_SIZE = 160
REVIEWED_SIZE = 480  # of pictures whose details people judge
_JPEG_QUALITY = 80


class Thumbnails:
    """Reads pictures as RGB thumbnails with a longest side of at most `size` pixels, and keeps them.

    `unreadable` collects the files that could not be read, in the order in which they were asked for.
    """

    def __init__(self, size: int = THUMBNAIL_SIZE) -> None:
        self.size = size
        self.unreadable: list[Path] = []
        self._images: dict[Path, Image.Image | None] = {}
        self._addresses: dict[Path, str] = {}

    def load(self, path: Path | None) -> Image.Image | None:
        """The picture as `read_image` shows it to a model; None if it cannot be read."""
        if path is None:
            return None
        if path not in self._images:
            self._images[path] = self._read(path)
        return self._images[path]

    def data_uri(self, path: Path | None) -> str | None:
        """The thumbnail as a JPEG in a `data:` address, or None as in `load`."""
        image = self.load(path)
        if path is None or image is None:
            return None
        if path not in self._addresses:
            buffer = io.BytesIO()
            image.save(buffer, format="JPEG", quality=_JPEG_QUALITY, optimize=True)
            encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
            self._addresses[path] = f"data:image/jpeg;base64,{encoded}"
        return self._addresses[path]

    def _read(self, path: Path) -> Image.Image | None:
        try:
            pixels = read_image(path)
        except ValueError as error:
            log.debug("A grey tile in the report: %s", error)
            self.unreadable.append(path)
            return None
        image = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
        image.thumbnail((self.size, self.size))
        return image

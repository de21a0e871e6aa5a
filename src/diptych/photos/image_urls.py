"""Images by their addresses: remote ones, and local ones inside requests to servers, as data URLs."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from diptych.photos.photo_file import read_photo

_WEB = ("http://", "https://")
_LONGEST_SIDE = 65_500  # libjpeg's limit
_QUALITY = 90  # of the JPEG; what servers scale down anyway is not worth more bytes


def is_remote(image: str) -> bool:
    """Whether an image, a path or an http(s) URL, is a URL."""
    return image.lower().startswith(_WEB)


def data_url(path: str | Path, max_side: int | None = None) -> str:
    """The photo as `data:image/jpeg;base64,...`: upright RGB, its long side at most `max_side` pixels. The same file
    always gives the same characters.

    Raises:
        ValueError: as `read_photo`, or a side is longer than a JPEG's may be.
    """
    photo, buffer = read_photo(path, max_side), io.BytesIO()
    if max(photo.size) > _LONGEST_SIDE:
        raise ValueError(
            f"image {path} has a side of more than {_LONGEST_SIDE} pixels, and is sent as a JPEG: shrink it"
        )
    photo.save(buffer, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")

"""Photo files for models that bring a preprocessing of their own: upright RGB pictures of Pillow."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from diptych.photos.picture import Picture
from diptych.photos.picture_data import read_bytes


def read_photo(path: str | Path, max_side: int | None = None) -> Image.Image:
    """The photo as 8-bit RGB, upright (EXIF orientation applied), its long side at most `max_side` pixels.

    Raises:
        ValueError: as `read_image`.
    """
    return decode_photo(read_bytes(path), path, max_side)


def decode_photo(data: bytes, name: str | Path, max_side: int | None = None) -> Image.Image:
    """What `read_photo` gives for a file of these bytes; errors call it `name`."""
    photo = Picture(data, name).rgb(max_side)
    if max_side is not None and max(photo.size) > max_side:
        photo.thumbnail((max_side, max_side), Image.Resampling.BICUBIC)
    return photo


def photo_size(path: str | Path) -> tuple[int, int]:
    """Width and height of the upright photo in pixels; nothing is decoded, so damage behind the header is not seen.

    Raises:
        ValueError: the file cannot be read, or is no image.
    """
    return Picture(read_bytes(path), path).size

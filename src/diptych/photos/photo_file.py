"""Photo files for models that bring a preprocessing of their own: upright RGB pictures of Pillow."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageOps

# A closed list: among Pillow's other formats are some that start programs (EPS runs Ghostscript).
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
EXIF_ORIENTATION = 0x0112  # 5 to 8 are turned by a quarter


def read_photo(path: str | Path, max_side: int | None = None) -> Image.Image:
    """The photo as 8-bit RGB, upright (EXIF orientation applied), its long side at most `max_side` pixels.

    Raises:
        ValueError: the file is missing, empty, no image, truncated, damaged, of more than 8 bits, or larger
            than Pillow's limit.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"photo {path} cannot be read: {error.strerror or error}") from error
    return decode_photo(data, path, max_side)


def decode_photo(data: bytes, name: str | Path, max_side: int | None = None) -> Image.Image:
    """What `read_photo` gives for a file of these bytes; errors call it `name`."""
    if not data:
        raise ValueError(f"photo {name} is empty (0 bytes); fetch it again")
    try:
        photo = Image.open(io.BytesIO(data), formats=FORMATS)
        if max_side is not None:
            photo.draft("RGB", (max_side, max_side))  # a JPEG is decoded at a smaller scale, never below this size
        if photo.mode.startswith(("I", "F")):
            raise ValueError(f"pixels of mode {photo.mode}, which Pillow would cut off at 255: convert it to 8 bits")
        upright = ImageOps.exif_transpose(photo).convert("RGB")
    # Pillow's plugins answer damaged bytes with OSError, SyntaxError, EOFError, struct.error and more.
    except Exception as error:
        raise ValueError(f"photo {name} is no readable image: {error}; fetch it again") from error
    if max_side is not None and max(upright.size) > max_side:
        upright.thumbnail((max_side, max_side), Image.Resampling.BICUBIC)
    return upright


def photo_size(path: str | Path) -> tuple[int, int]:
    """Width and height of the upright photo in pixels, from the file's first bytes: nothing is decoded.

    Raises:
        ValueError: the file is missing, or no image.
    """
    try:
        with Image.open(path, formats=FORMATS) as photo:
            width, height = photo.size
            turned = photo.getexif().get(EXIF_ORIENTATION, 1) >= 5
    except Exception as error:  # as above
        raise ValueError(f"photo {path} is no readable image: {error}; fetch it again") from error
    return (height, width) if turned else (width, height)

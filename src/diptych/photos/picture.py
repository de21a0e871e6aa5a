"""What a picture is, decided in one place: every reader of the house opens pictures here.

Readers may decode in ways of their own (the fast JPEG decoder, a smaller scale), and never differ in which files are
pictures, in what is upright, nor, but for rounding, in colours.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from diptych.photos.picture_data import UnreadablePicture, orientation_of, split

# A closed list: among Pillow's other formats are some that start programs (EPS runs Ghostscript).
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Picture:
    """The picture in a file's bytes; its header is read, its pixels are not. Errors call it `name`.

    Attributes:
        size: Width and height of the upright picture.
        format: One of the `FORMATS`.
        orientation: How the stored pixels are to be turned and mirrored, 1 to 8 as in EXIF.
        jpeg: The stream of an 8-bit gray or colour JPEG without metadata, which any decoder may take; else None.

    Raises:
        UnreadablePicture: no bytes, none of the `FORMATS`, or more pixels than `2 * Image.MAX_IMAGE_PIXELS`.
    """

    def __init__(self, data: bytes, name: str | Path) -> None:
        self.name, self._num_bytes = name, len(data)
        if not data:
            raise UnreadablePicture(f"image {name} is empty (0 bytes); fetch it again")
        with self._told(data[:12]):
            parts = split(data)
            self._image = Image.open(io.BytesIO(parts.pixels), formats=FORMATS)  # parses the header, checks the size
            self.orientation, swapped = self._orientation(parts.orientation)
        self._fault = parts.fault
        self.format = self._image.format or ""
        width, height = self._image.size
        self.size = (height, width) if swapped else (width, height)
        self.jpeg = parts.pixels if self._image.format == "JPEG" and self._image.mode in ("RGB", "L") else None

    def _orientation(self, found: int | None) -> tuple[int, bool]:
        """How the pixels are still to be turned once they are loaded, and whether `size` is to be swapped."""
        if found is None:
            info = self._image.info
            exif, xmp = info.get("exif"), info.get("xmp")
            found = orientation_of(exif, xmp.encode() if isinstance(xmp, str) else xmp)
            if self._image.format == "TIFF":
                # Pillow turns these while it loads them, and gives the upright size before, if a tag asks for it.
                return 1, _ORIENTATION not in self._image.getexif() and found >= 5
        return found, found >= 5

    def check_whole(self) -> None:
        """Decoders take zeros, as a broken download into a preallocated file leaves them, for picture data.

        Raises:
            UnreadablePicture: a JPEG's stream has no end, or too many scans.
        """
        if self._fault is not None:
            raise UnreadablePicture(f"image {self.name} is truncated or damaged: {self._fault}; fetch it again")

    def rgb(self, max_side: int | None = None) -> Image.Image:
        """The pixels as 8-bit RGB, upright; with `max_side` a JPEG may come smaller, but no side below that.

        Colours follow Pillow's `convert("RGB")`; see `read_image`. May be called once.

        Raises:
            UnreadablePicture: truncated or damaged, or pixels without a defined white.
        """
        self.check_whole()
        with self._told():
            if max_side is not None:
                self._image.draft("RGB", (max_side, max_side))
            self._image.load()
            pixels = _to_rgb(self._image)
            return pixels.transpose(_TURNS[self.orientation]) if self.orientation in _TURNS else pixels

    @contextmanager
    def _told(self, beginning: bytes = b"") -> Iterator[None]:
        """Pillow's plugins answer damaged bytes with OSError, SyntaxError, EOFError, struct.error and many more."""
        try:
            yield
        except UnidentifiedImageError as error:
            kinds = ", ".join(FORMATS)
            raise UnreadablePicture(
                f"image {self.name} is not a readable image ({kinds}): its {self._num_bytes} bytes begin with"
                f" {beginning!r}"
            ) from error
        except Image.DecompressionBombError as error:
            raise UnreadablePicture(f"image {self.name} is too large to be decoded safely: {error}") from error
        except _NoWhite as error:
            raise UnreadablePicture(f"image {self.name}: {error}") from None
        except MemoryError as error:
            raise UnreadablePicture(f"image {self.name} takes more memory than there is; make it smaller") from error
        except Exception as error:
            raise UnreadablePicture(f"image {self.name} is truncated or damaged: {error}; fetch it again") from error


class _NoWhite(ValueError):
    """The pixels are whole, but nothing says which value is white."""


def _to_rgb(image: Image.Image) -> Image.Image:
    """An 8-bit RGB image by Pillow's rules, with 16-bit gray scaled instead of clipped."""
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise _NoWhite(f"32-bit gray with values {values.min()} to {values.max()}: convert it to 8 or 16 bits")
        return Image.fromarray(((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise _NoWhite("floating-point pixels have no defined white: convert it to 8 or 16 bits")
    if image.mode == "P":
        return image.convert("RGBA").convert("RGB")  # the same colours without a warning per file
    return image.convert("RGB")

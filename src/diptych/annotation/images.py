"""Pictures inside questions: what stands for their content, how large they are, and the form they are sent in.

An image is the path of a local file or an http(s) URL, as in `ImagePair`.
"""

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

# A closed list: among Pillow's other formats are some that start programs (EPS runs Ghostscript).
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
_QUALITY = 90
_BLOCK = 2**20
DETAILS = ("auto", "low", "high")


def is_remote(image: str) -> bool:
    """Whether the image is a URL, which the server fetches itself."""
    return image.lower().startswith(("http://", "https://"))


def content_hash(image: str) -> str:
    """The SHA-256 of a local file's bytes, in hex; the URL itself for a remote image.

    Raises:
        ValueError: the file cannot be read, or is empty.
    """
    if is_remote(image):
        return image
    digest = hashlib.sha256()
    try:
        with Path(image).open("rb") as file:
            size = 0
            while block := file.read(_BLOCK):
                digest.update(block)
                size += len(block)
    except OSError as error:
        raise ValueError(f"image {image} cannot be read: {error.strerror or error}") from None
    if size == 0:
        raise ValueError(f"image {image} is empty (0 bytes); fetch it again")
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class PictureForm:
    """How pictures are sent: local ones as JPEG with a long side of at most `max_side` pixels (None: as they are),
    remote ones by their URL; `detail` is the server's setting of how closely it looks.

    Raises:
        ValueError: a setting makes no sense.
    """

    max_side: int | None = 1024
    detail: str = "high"

    def __post_init__(self) -> None:
        if self.detail not in DETAILS or (self.max_side is not None and self.max_side < 1):
            raise ValueError(
                f"picture_form.detail={self.detail!r}, max_side={self.max_side}: want one of {', '.join(DETAILS)}, and"
                " at least 1 pixel or null"
            )

    def message_part(self, image: str) -> dict[str, Any]:
        """The part of a chat message that holds the image. The same file always gives the same characters.

        Raises:
            ValueError: a local file is no readable image.
        """
        url = image if is_remote(image) else data_url(image, self.max_side)
        return {"type": "image_url", "image_url": {"url": url, "detail": self.detail}}

    def size(self, image: str) -> tuple[int, int] | None:
        """Width and height in pixels as it is sent, from a local file's first bytes; None for a remote image.

        Raises:
            ValueError: a local file is no image.
        """
        if is_remote(image):
            return None
        try:
            with Image.open(image, formats=_FORMATS) as picture:
                width, height = picture.size
                if picture.getexif().get(0x0112, 1) >= 5:  # turned by a quarter
                    width, height = height, width
        except Exception as error:  # Pillow's plugins answer damaged bytes with errors of many kinds
            raise ValueError(f"image {image} is no readable image: {error}; fetch it again") from error
        scale = min(1.0, self.max_side / max(width, height)) if self.max_side else 1.0
        return max(1, round(width * scale)), max(1, round(height * scale))


def data_url(path: str | Path, max_side: int | None = None) -> str:
    """A local picture as `data:image/jpeg;base64,...`: upright RGB (EXIF orientation applied), its long side at most
    `max_side` pixels.

    Raises:
        ValueError: the file is missing, empty, no image, damaged, of more than 8 bits, or larger than Pillow's limit.
    """
    try:
        with Image.open(path, formats=_FORMATS) as picture:
            if max_side is not None:
                picture.draft("RGB", (max_side, max_side))  # decodes a JPEG smaller, never below this
            if picture.mode.startswith(("I", "F")):
                raise ValueError(f"pixels of mode {picture.mode}: convert it to 8 bits")
            upright = ImageOps.exif_transpose(picture).convert("RGB")
    except Exception as error:  # as above
        raise ValueError(f"image {path} is no readable image: {error}; fetch it again") from error
    if max_side is not None and max(upright.size) > max_side:
        upright.thumbnail((max_side, max_side), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    upright.save(buffer, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")

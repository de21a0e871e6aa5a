"""Pictures inside questions: what stands for their content, how large they are, and the form they are sent in.

An image is the path of a local file or an http(s) URL, as in `ImagePair`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from diptych.photos.image_urls import data_url, is_remote
from diptych.photos.photo_file import photo_size
from diptych.photos.picture_data import read_bytes

DETAILS = ("auto", "low", "high")


def content_hash(image: str) -> str:
    """The SHA-256 of a local file's bytes, in hex; the URL itself for a remote image.

    Raises:
        ValueError: the file cannot be read, is no regular file, or is empty.
    """
    if is_remote(image):
        return image
    data = read_bytes(image)
    if not data:
        raise ValueError(f"image {image} is empty (0 bytes); fetch it again")
    return hashlib.sha256(data).hexdigest()


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
                f"detail={self.detail!r}, max_side={self.max_side}: want one of {', '.join(DETAILS)}, and"
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
        """Width and height in pixels as it is sent, without decoding it; None for a remote image.

        Raises:
            ValueError: a local file is no image.
        """
        if is_remote(image):
            return None
        width, height = photo_size(image)
        scale = min(1.0, self.max_side / max(width, height)) if self.max_side else 1.0
        return max(1, round(width * scale)), max(1, round(height * scale))

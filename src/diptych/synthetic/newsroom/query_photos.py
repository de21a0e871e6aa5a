"""Query photos: what becomes of an archive photo on its way through other hands: cut, tilted, scaled, recompressed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from diptych.synthetic.canvas import Array


@dataclass(frozen=True, slots=True)
class Rework:
    """How a query photo differs from the archive photo that it comes from.

    Attributes:
        corners: The four corners of the part that is kept, clockwise from the top left, as shares of width and height.
        width: Of the result, in pixels; its height follows from the corners.
        brightness: A factor.
        quality: Of the JPEG, before the one that is written.
        blur: Standard deviation of the blur, as a share of the width of the result.
    """

    corners: tuple[tuple[float, float], ...]
    width: int
    brightness: float
    quality: int
    blur: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """All fields, but for a blur that is none."""
        return {name: value for name, value in asdict(self).items() if name != "blur" or value}


def sample_rework(rng: np.random.Generator, kept_share: float | None = None, blur: float = 0.0) -> Rework:
    """The share of each side that stays is `kept_share`, somewhere in the photo, or between 74 % and 96 %; tilted by a
    few degrees and a little out of parallel. All else is drawn alike, whatever share and blur.
    """
    left, top = rng.uniform(0.02, 0.13, 2)
    right, bottom = 1 - rng.uniform(0.02, 0.13, 2)
    if kept_share is not None:
        # The part slides to where its margins have the ratio that was drawn.
        left, top = (1 - kept_share) * np.array([left / (left + 1 - right), top / (top + 1 - bottom)])
        right, bottom = left + kept_share, top + kept_share
    angle = np.deg2rad(rng.uniform(-3, 3))
    shares = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = 0.5 if kept_share is None else shares.mean(0)
    shares = (shares - middle) @ turn.T + middle + rng.uniform(-0.015, 0.015, (4, 2))
    return Rework(
        corners=tuple((round(float(x), 4), round(float(y), 4)) for x, y in shares.clip(0, 1)),
        width=int(rng.integers(280, 401)),
        brightness=round(float(rng.uniform(0.85, 1.15)), 3),
        quality=int(rng.integers(45, 80)),
        blur=blur,
    )


def rework_photo(photo: Array, rework: Rework) -> Array:
    """The query photo (H, W, 3) uint8 RGB made of an archive photo; the same arguments give the same pixels."""
    height, width = photo.shape[:2]
    corners = np.array(rework.corners, np.float32) * np.array([width, height], np.float32)
    across = float(np.linalg.norm(corners[1] - corners[0]))
    down = float(np.linalg.norm(corners[3] - corners[0]))
    size = (rework.width, round(rework.width * down / across))
    target = np.array([[0, 0], [size[0], 0], size, [0, size[1]]], np.float32)
    matrix = cv2.getPerspectiveTransform(corners, target)
    picture = cv2.warpPerspective(photo, matrix, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT)
    if rework.blur:
        picture = cv2.GaussianBlur(picture, (0, 0), rework.blur * rework.width)
    picture = np.clip(picture.astype(np.float32) * rework.brightness, 0, 255).astype(np.uint8)
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, rework.quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None  # it has just been encoded
    return decoded

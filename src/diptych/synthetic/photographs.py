"""What a camera adds to a drawn scene, and the colours that scenes are painted in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from diptych.synthetic.canvas import Array, Camera, Canvas, Rgb, mix

PALETTE: Mapping[str, Rgb] = {
    "red": (196, 44, 46),
    "orange": (238, 132, 34),
    "yellow": (240, 208, 62),
    "green": (62, 148, 74),
    "blue": (48, 98, 192),
    "purple": (134, 72, 168),
    "white": (240, 238, 232),
    "black": (48, 48, 54),
    "brown": (126, 84, 52),
}
WOODS: Mapping[str, Rgb] = {"oak": (176, 132, 84), "walnut": (104, 70, 48), "birch": (214, 188, 148)}
_WHITE: Rgb = (246, 244, 238)


def pattern_colours(colour: str) -> tuple[Rgb, Rgb]:
    """The colour and what its pattern is drawn in: light on dark and saturated colours, dark on white and yellow."""
    base = PALETTE[colour]
    return base, (mix(base, (40, 36, 40), 0.6) if colour in ("white", "yellow") else mix(base, _WHITE, 0.78))


@dataclass(frozen=True, slots=True)
class Photograph:
    """What varies between two photographs of one scene: camera, light and sensor. Small, so that changes stand out.

    `warmth` is -1 cold to 1 warm; `daylight` 0 to 1; `noise` a standard deviation in grey levels.
    """

    camera: Camera
    exposure: float
    warmth: float
    daylight: float
    contrast: float
    noise: float
    noise_seed: int

    def to_json(self) -> dict[str, Any]:
        """All fields, the camera as an object."""
        return asdict(self)


def sample_photograph(position: tuple[float, float, float], horizon: float, rng: np.random.Generator) -> Photograph:
    """A photograph from about a position; a camera that stands aside turns back to the middle a little."""

    def around(centre: float, spread: float) -> float:
        return round(float(centre + rng.uniform(-spread, spread)), 4)

    x, y, z = position
    camera = Camera(
        x=around(x, 0.12),
        y=around(y, 0.06),
        z=around(z, 0.12),
        yaw=around(x * -0.1, 0.03),
        focal=around(0.8, 0.015),
        horizon=around(horizon, 0.01),
    )
    return Photograph(
        camera=camera,
        exposure=around(1.0, 0.12),
        warmth=around(0.0, 1.0),
        daylight=around(0.5, 0.5),
        contrast=around(1.0, 0.08),
        noise=around(3.0, 1.5),
        noise_seed=int(rng.integers(2**31)),
    )


def develop(canvas: Canvas, photograph: Photograph, bright_side: str, glow: Sequence[float] | None = None) -> Array:
    """The photograph of a painted canvas, (size, size, 3) uint8 RGB: the bright side's daylight, the light of a lamp at
    `glow` (x, y, z), white balance, exposure, contrast, vignette and noise.
    """
    size = canvas.size
    across = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    towards_light = across if bright_side == "right" else -across
    light = 1.0 + 0.10 * (photograph.daylight - 0.2) * towards_light[None, :]
    light = light * (1.04 - 0.10 * (across[None, :] ** 2 + across[:, None] ** 2))
    balance = np.array([1.0 + 0.05 * photograph.warmth, 1.0 + 0.01 * photograph.warmth, 1.0 - 0.06 * photograph.warmth])
    gain = balance * (photograph.exposure * photograph.contrast)
    picture = canvas.reduced() * (light[..., None] * gain.astype(np.float32))
    if glow is not None:
        x, y = photograph.camera.project(np.array(glow)) * 2.0 - 1.0
        distance = (across[None, :] - x) ** 2 + (across[:, None] - y) ** 2
        picture += np.exp(-distance / 0.05).astype(np.float32)[..., None] * np.array([34.0, 28.0, 14.0], np.float32)
    rng = np.random.default_rng(photograph.noise_seed)
    grain = rng.standard_normal((size, size, 1), dtype=np.float32) * photograph.noise
    picture += grain + 128.0 * (1.0 - photograph.contrast)  # contrast turns about middle grey
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def encode_jpeg(picture: Array, quality: int = 90) -> bytes:
    """The picture (H, W, 3) RGB as a JPEG file."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"OpenCV could not encode a picture of shape {picture.shape} as JPEG")
    return data.tobytes()

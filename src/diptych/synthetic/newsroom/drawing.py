"""Scene to photograph: the setting of each kind of event, the camera, and the film's grain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np

from diptych.synthetic.canvas import Array, Camera, Canvas
from diptych.synthetic.newsroom import settings_indoors, settings_outdoors
from diptych.synthetic.newsroom.scene import Scene

WIDTH, HEIGHT = 400, 300
_TOP = 50  # the rows of the square canvas that the photograph leaves out above
Draw = Callable[[Canvas, Scene, np.random.Generator, np.random.Generator], None]
DRAWERS: Mapping[str, Draw] = {
    "bridge_opening": settings_outdoors.draw_bridge,
    "ship_launch": settings_outdoors.draw_quay,
    "railway_opening": settings_outdoors.draw_platform,
    "wind_farm": settings_outdoors.draw_hills,
    "flood": settings_outdoors.draw_flooded_street,
    "warehouse_fire": settings_outdoors.draw_burning_hall,
    "protest_march": settings_outdoors.draw_march,
    "excavation": settings_outdoors.draw_trench,
    "cup_final": settings_indoors.draw_stadium,
    "exhibition": settings_indoors.draw_gallery,
    "music_festival": settings_indoors.draw_stage,
    "treaty_signing": settings_indoors.draw_conference,
}


@dataclass(frozen=True, slots=True)
class Shot:
    """One photograph of a scene: where from, how bright, how grainy."""

    camera: Camera
    exposure: float
    warmth: float
    noise: float
    noise_seed: int

    def to_json(self) -> dict[str, Any]:
        """All fields, the camera as an object."""
        return asdict(self)


def sample_shot(rng: np.random.Generator) -> Shot:
    """A photograph from near the middle, a little higher or lower, a little turned."""

    def between(low: float, high: float) -> float:
        return round(float(rng.uniform(low, high)), 4)

    camera = Camera(
        x=between(-0.5, 0.5),
        y=between(1.9, 2.8),
        z=12.0,
        yaw=between(-0.03, 0.03),
        focal=between(0.8, 0.88),
        horizon=between(0.52, 0.57),
    )
    return Shot(camera, between(0.92, 1.08), between(-1, 1), between(2.0, 4.0), int(rng.integers(2**31)))


def draw_photo(scene: Scene, shot: Shot) -> Array:
    """The photograph, (HEIGHT, WIDTH, 3) uint8 RGB; the same arguments give the same pixels."""
    canvas = Canvas(shot.camera, WIDTH)
    # The town's own numbers decide the houses, so that two events of a town share their background.
    DRAWERS[scene.kind](canvas, scene, np.random.default_rng(scene.look_seed), np.random.default_rng(scene.detail_seed))
    picture = canvas.reduced()[_TOP : _TOP + HEIGHT].astype(np.float32)
    rng = np.random.default_rng(shot.noise_seed)
    # Coarse and fine grain: the coarse one survives recompression and scaling.
    coarse = cv2.resize(rng.standard_normal((HEIGHT // 3, WIDTH // 3), dtype=np.float32), (WIDTH, HEIGHT))
    grain = (rng.standard_normal((HEIGHT, WIDTH), dtype=np.float32) + 2.0 * coarse) * shot.noise
    balance = np.array([1 + 0.04 * shot.warmth, 1.0, 1 - 0.05 * shot.warmth], np.float32) * shot.exposure
    return np.clip(np.rint(picture * balance + grain[..., None]), 0, 255).astype(np.uint8)

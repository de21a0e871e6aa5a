"""Pictures for the tests of verification: drawn ones always, real photographs where they lie beside the checkout."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

import golden_files


@pytest.fixture(autouse=True)
def one_opencv_thread():
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


def draw_picture(seed: int, width: int = 480, height: int = 360) -> np.ndarray:
    """Filled polygons, ellipses and lettering over a gradient, BGR: corners and blobs everywhere, none twice."""
    rng = np.random.default_rng(seed)
    canvas = np.linspace(60, 190, width)[None, :, None] * np.ones((height, 1, 3)) * rng.uniform(0.6, 1, 3)
    canvas = np.ascontiguousarray(canvas.astype(np.uint8))
    for _ in range(90):
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        centre = rng.uniform(0, (width, height))
        corners = centre + rng.normal(0, 22, (int(rng.integers(3, 6)), 2))
        cv2.fillPoly(canvas, [np.int32(corners)], colour, cv2.LINE_AA)
        axes = tuple(int(value) for value in rng.integers(2, 14, 2))
        cv2.ellipse(canvas, tuple(np.int32(rng.uniform(0, (width, height))).tolist()), axes, 0, 0, 360, colour, -1)
    return canvas


def rework(picture: np.ndarray, seed: int) -> np.ndarray:
    """A copy as it comes back from other hands: cut, turned, tilted, scaled, dimmed, recompressed."""
    rng = np.random.default_rng(seed)
    height, width = picture.shape[:2]
    kept = rng.uniform(0.6, 0.8)
    left, top = rng.uniform(0.05, 0.95 - kept, 2)
    corners = np.array([[left, top], [left + kept, top], [left + kept, top + kept], [left, top + kept]])
    angle = np.deg2rad(rng.uniform(-8, 8))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = (corners - corners.mean(0)) @ turn.T + corners.mean(0) + rng.uniform(-0.03, 0.03, (4, 2))
    size = (round(width * kept * 0.9), round(height * kept * 0.9))
    target = np.float32([[0, 0], [size[0], 0], size, [0, size[1]]])
    matrix = cv2.getPerspectiveTransform(np.float32(corners * [width, height]), target)
    copy = cv2.warpPerspective(picture, matrix, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT)
    copy = np.clip(copy * rng.uniform(0.55, 0.85), 0, 255).astype(np.uint8)
    _, data = cv2.imencode(".jpg", copy, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 60))])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


@pytest.fixture
def draw() -> Callable[..., np.ndarray]:
    return draw_picture


@pytest.fixture
def reworked() -> Callable[[np.ndarray, int], np.ndarray]:
    return rework


@pytest.fixture(scope="session")
def photos() -> list[np.ndarray]:
    """Ten photographs of one building, none of them ours to redistribute; long side 800."""
    paths = sorted(golden_files.beside_the_checkout("real/photos").glob("*.jpg"))
    pictures = [cv2.imread(str(path)) for path in paths]
    scales = [800 / max(picture.shape) for picture in pictures]
    return [
        cv2.resize(p, None, fx=s, fy=s, interpolation=cv2.INTER_AREA) for p, s in zip(pictures, scales, strict=True)
    ]

"""A small painter in three dimensions: a pinhole camera, filled polygons, patterned planes and boxes.

World axes in metres: x to the right, y up from the floor, z from the back wall towards the camera. Points are arrays
(..., 3). Colours are RGB in 0..255. The picture is painted `SUPERSAMPLING` times too large and reduced at the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SUPERSAMPLING = 3
_SUBPIXEL_BITS = 4
_NEAREST = 0.3

Rgb = tuple[float, float, float]
Array = NDArray[Any]


def mix(one: Rgb, other: Rgb, share: float) -> Rgb:
    """`share` of the other colour in the one."""
    red, green, blue = (a + (b - a) * share for a, b in zip(one, other, strict=True))
    return red, green, blue


@dataclass(frozen=True, slots=True)
class Camera:
    """Where a photograph is taken from. `focal` is in picture widths; `yaw` in radians; `horizon` 0 top, 1 bottom."""

    x: float
    y: float
    z: float
    yaw: float
    focal: float
    horizon: float

    def matrix(self) -> Array:
        """(4, 3): a row vector (x, y, z, 1) times it gives (u w, v w, w), u and v in picture widths, w the depth."""
        cos, sin = float(np.cos(self.yaw)), float(np.sin(self.yaw))
        right, forward = np.array([cos, 0.0, sin]), np.array([sin, 0.0, -cos])
        down = np.array([0.0, -1.0, 0.0])
        axes = np.stack(
            [self.focal * right + 0.5 * forward, self.focal * down + self.horizon * forward, forward], axis=1
        )
        return np.vstack([axes, -np.array([self.x, self.y, self.z]) @ axes])

    def project(self, points: Array) -> Array:
        """World points (..., 3) to picture coordinates (..., 2) in picture widths; see `divide_by_depth`."""
        matrix = self.matrix()
        return divide_by_depth(points @ matrix[:3] + matrix[3])


def divide_by_depth(points: Array) -> Array:
    """(u w, v w, w) to (u, v); what lies behind the lens is taken as lying right before it."""
    return points[..., :2] / np.maximum(points[..., 2:], _NEAREST)


@dataclass(frozen=True, slots=True)
class Plane:
    """A parallelogram: a corner and the two edges that leave it."""

    corner: tuple[float, float, float]
    across: tuple[float, float, float]
    along: tuple[float, float, float]

    def matrix(self) -> Array:
        """(3, 4): a row vector (1, a, b) times it gives the point (x, y, z, 1) at these shares of the edges."""
        return np.array(((*self.corner, 1.0), (*self.across, 0.0), (*self.along, 0.0)))

    def part(self, a0: float, b0: float, a1: float, b1: float) -> Plane:
        """The part between two corners given in shares."""
        (cx, cy, cz), (ux, uy, uz), (vx, vy, vz) = self.corner, self.across, self.along
        a, b = a1 - a0, b1 - b0
        corner = (cx + a0 * ux + b0 * vx, cy + a0 * uy + b0 * vy, cz + a0 * uz + b0 * vz)
        return Plane(corner, (a * ux, a * uy, a * uz), (b * vx, b * vy, b * vz))

    def lengths(self) -> tuple[float, float]:
        """The lengths of `across` and `along` in metres."""
        return math.hypot(*self.across), math.hypot(*self.along)


def _with_one(shares: Array) -> Array:
    """Shares (..., 2) of a plane's edges as the row vectors (..., 3) that its matrix takes."""
    return np.concatenate([np.ones((*shares.shape[:-1], 1)), shares], axis=-1)


def _circle(num_corners: int) -> Array:
    angles = np.arange(num_corners) * (2 * np.pi / num_corners)
    return np.stack([np.cos(angles), np.sin(angles)], -1)


_SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
_DOT = 0.3 * _circle(10) + 0.5
_WHOLE = _with_one(_SQUARE)
_ELLIPSE = _with_one(0.5 + 0.5 * _circle(24))
# A square with round corners: a superellipse of degree 4.
_CUSHION = _with_one(0.5 + 0.5 * np.sign(_circle(24)) * np.sqrt(np.abs(_circle(24))))


@lru_cache(maxsize=256)
def _pattern_cells(pattern: str, num_across: int, num_along: int) -> Array:
    """Row vectors (N, corners, 3) of the polygons that carry the pattern's second colour."""
    scale = np.array([1.0 / num_across, 1.0 / num_along])
    grid = [(i, j) for i in range(num_across) for j in range(num_along)]
    if pattern == "striped":
        cells = [(_SQUARE * [0.5, num_along] + [i, 0]) * scale for i in range(num_across)]
    elif pattern == "checked":
        cells = [(_SQUARE + cell) * scale for cell in grid if sum(cell) % 2 == 0]
    elif pattern == "dotted":
        cells = [(_DOT + cell) * scale for cell in grid]
    else:
        raise ValueError(f"pattern {pattern!r} is unknown; use plain, striped, checked or dotted")
    return _with_one(np.stack(cells))


class Canvas:
    """The picture while it is painted: `pixels` (N, N, 3) uint8 RGB, N = size * SUPERSAMPLING."""

    def __init__(self, camera: Camera, size: int) -> None:
        self.camera = camera
        self.size = size
        self.pixels: Array = np.zeros((size * SUPERSAMPLING, size * SUPERSAMPLING, 3), np.uint8)
        self._matrix = camera.matrix()
        self._scale = self.pixels.shape[0] * 2.0**_SUBPIXEL_BITS

    def polygons(self, points: Array, colour: Rgb) -> None:
        """Fill polygons (N, corners, 3) of world points that do not overlap."""
        self._fill(points @ self._matrix[:3] + self._matrix[3], colour)

    def _fill(self, projected: Array, colour: Rgb) -> None:
        """Fill polygons (N, corners, 3) of (u w, v w, w)."""
        corners = np.rint(divide_by_depth(projected) * self._scale).astype(np.int32)
        cv2.fillPoly(self.pixels, list(corners), colour, cv2.LINE_8, _SUBPIXEL_BITS)

    def plane(self, plane: Plane, colour: Rgb) -> None:
        """Fill a parallelogram."""
        self._fill((_WHOLE @ (plane.matrix() @ self._matrix))[None], colour)

    def cushion(self, plane: Plane, colour: Rgb) -> None:
        """Fill a parallelogram with round corners."""
        self._fill((_CUSHION @ (plane.matrix() @ self._matrix))[None], colour)

    def ellipse(self, plane: Plane, colour: Rgb) -> None:
        """Fill the ellipse that touches the parallelogram's sides."""
        self._fill((_ELLIPSE @ (plane.matrix() @ self._matrix))[None], colour)

    def ellipses(self, planes: Sequence[Plane], colour: Rgb) -> None:
        """Fill the ellipses of several parallelograms that do not overlap, faster than one by one."""
        matrices = np.stack([plane.matrix() for plane in planes])
        self._fill(_ELLIPSE @ (matrices @ self._matrix), colour)

    def patterned(self, plane: Plane, colours: tuple[Rgb, Rgb], pattern: str, period: float) -> None:
        """Fill a parallelogram with a pattern; stripes run along `along`, `period` metres apart."""
        self.plane(plane, colours[0])
        if pattern == "plain":
            return
        num_across, num_along = (max(1, round(length / period)) for length in plane.lengths())
        self._fill(_pattern_cells(pattern, num_across, num_along) @ (plane.matrix() @ self._matrix), colours[1])

    def box(self, low: Sequence[float], high: Sequence[float], colour: Rgb) -> None:
        """A box between two corners, its sides shaded by where they face; sides that look away are left out."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        if self.camera.x < x0:
            self.plane(Plane((x0, y0, z0), (0, 0, z1 - z0), (0, y1 - y0, 0)), shade(colour, 0.72))
        elif self.camera.x > x1:
            self.plane(Plane((x1, y0, z0), (0, 0, z1 - z0), (0, y1 - y0, 0)), shade(colour, 0.72))
        if self.camera.y > y1:
            self.plane(Plane((x0, y1, z0), (x1 - x0, 0, 0), (0, 0, z1 - z0)), shade(colour, 1.12))
        self.plane(Plane((x0, y0, z1), (x1 - x0, 0, 0), (0, y1 - y0, 0)), shade(colour, 0.9))

    def mask(self, planes: Sequence[tuple[Plane, int]], background: int, blur: float) -> Array:
        """Soft grey areas (size, size) uint8 on a background: for shadows and patches of light; `blur` in widths."""
        mask = np.full((self.size, self.size), background, np.uint8)
        scale = self.size * 2.0**_SUBPIXEL_BITS
        for plane, value in planes:
            corners = divide_by_depth(_WHOLE @ (plane.matrix() @ self._matrix))
            cv2.fillConvexPoly(mask, np.rint(corners * scale).astype(np.int32), value, cv2.LINE_8, _SUBPIXEL_BITS)
        return cv2.GaussianBlur(mask, (0, 0), blur * self.size)

    def multiply(self, mask: Array, neutral: int) -> None:
        """Multiply the picture by a mask of its small size, in which `neutral` changes nothing."""
        full = cv2.resize(cv2.merge([mask, mask, mask]), self.pixels.shape[:2], interpolation=cv2.INTER_LINEAR)
        self.pixels = cv2.multiply(self.pixels, full, scale=1.0 / neutral)

    def reduced(self) -> Array:
        """The finished picture (size, size, 3), antialiased by averaging."""
        return cv2.resize(self.pixels, (self.size, self.size), interpolation=cv2.INTER_AREA)


def shade(colour: Rgb, factor: float) -> Rgb:
    """A colour in more or less light."""
    red, green, blue = (min(255.0, channel * factor) for channel in colour)
    return red, green, blue

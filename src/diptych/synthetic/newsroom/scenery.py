"""What scenes are built of: sky, ground, houses, people, and the things that news photographs are full of.

Metres as in `Canvas`: z grows towards the camera, which stands at z = 12. Most things are flat and face it.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from diptych.synthetic.canvas import Array, Canvas, Plane, Rgb, mix, shade

PALETTE: dict[str, Rgb] = {
    "red": (196, 44, 40), "blue": (44, 88, 176), "green": (52, 134, 70), "yellow": (232, 196, 52),
    "orange": (226, 122, 38), "white": (236, 234, 226), "purple": (122, 66, 150),
}  # fmt: skip
_SKIES: dict[str, tuple[Rgb, Rgb]] = {
    "clear": ((92, 146, 214), (202, 222, 238)),
    "overcast": ((146, 152, 160), (206, 208, 208)),
    "dusk": ((74, 70, 116), (240, 168, 110)),
}
_WALLS: tuple[Rgb, ...] = (
    (178, 122, 96), (206, 184, 148), (160, 150, 140), (188, 100, 80), (214, 200, 178), (128, 136, 148), (150, 110, 92),
)  # fmt: skip
_COATS: tuple[Rgb, ...] = (
    (40, 44, 60), (120, 40, 44), (60, 90, 70), (180, 160, 120), (90, 90, 96), (200, 200, 204), (44, 78, 130),
    (168, 96, 50), (210, 170, 60), (110, 70, 120),
)  # fmt: skip
_SKINS: tuple[Rgb, ...] = ((232, 196, 168), (206, 160, 126), (150, 106, 78), (104, 72, 54))
_HAIR: tuple[Rgb, ...] = ((40, 30, 26), (96, 64, 40), (176, 140, 84), (150, 150, 150))


def upright(x: float, y: float, z: float, width: float, height: float) -> Plane:
    """A rectangle that faces the camera; `x` is its left side, `y` its foot."""
    return Plane((x, y, z), (width, 0, 0), (0, height, 0))


def draw_sky(canvas: Canvas, light: str, rng: np.random.Generator) -> None:
    """A gradient with clouds over the whole picture."""
    size = canvas.size // 2  # clouds have no edges: painted small, they cost a tenth of the time
    top, bottom = (np.array(colour, np.float32) for colour in _SKIES[light])
    height = np.linspace(0, 2, size, dtype=np.float32).clip(0, 1)[:, None, None]
    clouds: Array = np.zeros((150, 150), np.float32)
    for scale in (1, 2, 4):
        noise = rng.random((4 * scale, 3 * scale), dtype=np.float32)
        clouds += cv2.resize(noise, (150, 150), interpolation=cv2.INTER_CUBIC) / scale
    clouds = cv2.resize(((clouds - 0.85) * 1.1).clip(0, 0.6), (size, size), interpolation=cv2.INTER_LINEAR)
    sky = top + (bottom - top) * height
    small = (sky + (bottom * 1.04 - sky).clip(-40, 90) * clouds[..., None]).clip(0, 255).astype(np.uint8)
    canvas.pixels = cv2.resize(small, canvas.pixels.shape[:2], interpolation=cv2.INTER_LINEAR)


def draw_ground(canvas: Canvas, colour: Rgb, rng: np.random.Generator, paved: float = 0.0, until: float = -70) -> None:
    """The ground as far as z = `until`: plain with stones or tufts, or paved with slabs of so many metres."""
    ground = Plane((-60, 0, until), (120, 0, 0), (0, 0, 11.4 - until))
    canvas.plane(ground, shade(colour, 0.93))
    near = Plane((-12, 0, -6), (24, 0, 0), (0, 0, 17.3))
    if paved:
        canvas.patterned(near, (colour, shade(colour, 0.9)), "checked", paved)
    for factor in (0.8, 1.13):
        spots = np.column_stack([rng.uniform(-12, 12, 260), np.zeros(260), rng.uniform(-6, 10.6, 260)])
        shape = np.array([[-0.09, 0, 0], [0, 0, 0.06], [0.09, 0, 0], [0, 0, -0.06]])
        corners = spots[:, None] + shape * rng.uniform(0.4, 1.6, (260, 1, 1))
        canvas.polygons(corners, shade(colour, factor))


def draw_house(canvas: Canvas, x: float, z: float, width: float, height: float, rng: np.random.Generator) -> None:
    """A house with windows, some of them lit, a door and a roof."""
    wall = _WALLS[int(rng.integers(len(_WALLS)))]
    canvas.box((x, 0, z - 6), (x + width, height, z), wall)
    columns, rows = max(2, int(width / 1.5)), max(1, int(height / 1.9))
    step_x, step_y = width / columns, height / rows
    frame = np.array([[0.2, 0.25, 0], [0.8, 0.25, 0], [0.8, 0.85, 0], [0.2, 0.85, 0]]) * [step_x, step_y, 1]
    places = np.array([(x + i * step_x, j * step_y, z + 0.02) for i in range(columns) for j in range(rows)])
    windows = places[:, None] + frame
    canvas.polygons(windows, shade(wall, 1.25))
    inner = windows.mean(1, keepdims=True) + (windows - windows.mean(1, keepdims=True)) * [0.8, 0.86, 1]
    lit = rng.random(len(inner)) < 0.3
    for group, colour in ((inner[~lit], (52, 60, 72)), (inner[lit], (236, 212, 150))):
        if len(group):
            canvas.polygons(group, colour)
    cross = np.array([[-0.03, -step_y, 0], [0.03, -step_y, 0], [0.03, step_y, 0], [-0.03, step_y, 0]]) * [1, 0.26, 1]
    canvas.polygons(inner.mean(1, keepdims=True) + cross, shade(wall, 1.1))
    roof = shade(wall, 0.6)
    peak = height + float(rng.uniform(0.3, 1.6))
    canvas.polygons(np.array([[[x - 0.2, height, z], [x + width + 0.2, height, z], [x + width / 2, peak, z]]]), roof)
    canvas.plane(upright(x + width * 0.42, 0, z + 0.04, 0.9, 1.7), shade(wall, 0.45))


def draw_row(canvas: Canvas, z: float, rng: np.random.Generator, left: float = -16, right: float = 16) -> None:
    """A row of houses."""
    while left < right:
        width = float(rng.uniform(3, 6))
        draw_house(canvas, left, z, width, float(rng.uniform(3.5, 8)), rng)
        left += width


def draw_person(
    canvas: Canvas, x: float, z: float, rng: np.random.Generator, coat: Rgb | None = None, floor: float = 0.0
) -> None:
    """A standing person of about 1.7 metres whose feet are at height `floor`."""
    height = float(rng.uniform(1.5, 1.85))
    coat = coat or _COATS[int(rng.integers(len(_COATS)))]
    trousers = shade(_COATS[int(rng.integers(len(_COATS)))], 0.7)
    skin, hair = _SKINS[int(rng.integers(len(_SKINS)))], _HAIR[int(rng.integers(len(_HAIR)))]
    for leg in (-0.17, 0.03):
        canvas.plane(upright(x + leg, floor, z, 0.14, 0.5 * height), trousers)
    for arm in (-0.3, 0.2):
        canvas.plane(upright(x + arm, floor + 0.42 * height, z, 0.1, 0.38 * height), shade(coat, 0.8))
    canvas.cushion(upright(x - 0.22, floor + 0.4 * height, z, 0.44, 0.46 * height), coat)
    canvas.plane(upright(x - 0.02, floor + 0.45 * height, z, 0.03, 0.36 * height), shade(coat, 0.6))
    canvas.ellipse(upright(x - 0.12, floor + 0.85 * height, z, 0.24, 0.17 * height), skin)
    canvas.ellipse(upright(x - 0.125, floor + 0.94 * height, z, 0.25, 0.09 * height), hair)


def draw_people(
    canvas: Canvas,
    count: int,
    area: tuple[float, float, float, float],
    rng: np.random.Generator,
    coat: Rgb | None = None,
    floor: float = 0.0,
) -> list[tuple[float, float]]:
    """People side by side in an area (x0, x1, z0, z1), the far ones first; returns where they stand (x, z)."""
    x0, x1, z0, z1 = area
    order = rng.permutation(count)
    across = x0 + (order + rng.uniform(0.2, 0.8, count)) * (x1 - x0) / count
    places = sorted(zip(rng.uniform(z0, z1, count).tolist(), across.tolist(), strict=True))
    for z, x in places:
        draw_person(canvas, x, z, rng, coat, floor)
    return [(x, z) for z, x in places]


def draw_board(canvas: Canvas, plane: Plane, colour: Rgb, rng: np.random.Generator, rows: int = 3) -> None:
    """A placard, poster or banner with illegible lettering."""
    canvas.plane(plane, colour)
    ink = (30, 30, 34) if sum(colour) > 330 else (240, 238, 230)
    for row in range(rows):
        left = 0.08
        while left < 0.86:
            width = float(rng.uniform(0.03, 0.12))
            low = 0.12 + 0.78 * row / rows
            canvas.plane(plane.part(left, low, min(left + width, 0.92), low + 0.5 / rows), ink)
            left += width + float(rng.uniform(0.015, 0.05))


def draw_flags(canvas: Canvas, places: Sequence[tuple[float, float]], height: float, rng: np.random.Generator) -> None:
    """Poles at (x, z) with flags of two or three invented stripes."""
    names = list(PALETTE)
    for x, z in places:
        canvas.plane(upright(x, 0, z, 0.07, height), (190, 190, 190))
        stripes = int(rng.integers(2, 4))
        upwards = rng.random() < 0.5
        flag = upright(x + 0.07, height - 0.95, z, 1.2, 0.9)
        colours = rng.permutation(len(names))[:stripes].tolist()
        for index, colour in enumerate(colours):
            one, other = index / stripes, (index + 1) / stripes
            part = flag.part(0, one, 1, other) if upwards else flag.part(one, 0, other, 1)
            canvas.plane(part, PALETTE[names[colour]])


def draw_tree(canvas: Canvas, x: float, z: float, height: float, rng: np.random.Generator) -> None:
    """A trunk and a crown of many leaves' clumps."""
    canvas.plane(upright(x - 0.12, 0, z, 0.24, 0.5 * height), (82, 60, 44))
    for factor in (0.75, 0.9, 1.05, 1.2):
        for _ in range(7):
            width = float(rng.uniform(0.18, 0.36)) * height
            dx, dy = rng.uniform(-0.26, 0.26) * height, rng.uniform(0.38, 0.8) * height
            canvas.ellipse(upright(x + dx - width / 2, dy, z, width, 0.7 * width), shade((66, 108, 54), factor))


def draw_smoke(canvas: Canvas, centres: Array, radius: float, colour: Rgb) -> None:
    """Soft smoke around world points (N, 3), thicker where they are close together."""
    size = canvas.size
    mask: Array = np.zeros((size, size), np.float32)
    for (u, v), share in zip(canvas.camera.project(centres) * size, np.linspace(0.5, 1.5, len(centres)), strict=True):
        blob = np.zeros_like(mask)
        cv2.circle(blob, (round(u), round(v)), max(2, round(radius * share * size)), 0.4, -1)
        mask += blob
    mask = cv2.GaussianBlur(mask.clip(0, 1), (0, 0), 0.012 * size)
    rows = np.flatnonzero(mask.max(1) > 0.004)
    scale = canvas.pixels.shape[0] // size
    low, high = rows[0] * scale, (rows[-1] + 1) * scale  # the smoke's rows alone: the rest stays as it is
    part = canvas.pixels[low:high]
    full = cv2.resize(mask[rows[0] : rows[-1] + 1], (part.shape[1], part.shape[0]), interpolation=cv2.INTER_LINEAR)
    canvas.pixels[low:high] = part + (np.array(colour, np.float32) - part) * full[..., None]


def draw_crowd_stand(canvas: Canvas, plane: Plane, num_columns: int, num_rows: int, rng: np.random.Generator) -> None:
    """A slope full of spectators: a coloured dot and a head for each."""
    canvas.plane(plane, (96, 96, 100))
    for row in reversed(range(num_rows)):
        for column in range(num_columns):
            a, b = (column + rng.uniform(0.1, 0.4)) / num_columns, (row + 0.1) / num_rows
            coat = _COATS[int(rng.integers(len(_COATS)))]
            canvas.plane(plane.part(a, b, a + 0.6 / num_columns, b + 0.5 / num_rows), coat)
            head = plane.part(a + 0.15 / num_columns, b + 0.45 / num_rows, a + 0.45 / num_columns, b + 0.8 / num_rows)
            canvas.ellipse(head, _SKINS[int(rng.integers(len(_SKINS)))])


def faded(colour: Rgb, share: float) -> Rgb:
    """A colour seen through haze."""
    return mix(colour, (200, 208, 214), share)

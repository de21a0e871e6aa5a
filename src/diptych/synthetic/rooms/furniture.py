"""How each object of a room is painted, and where on its side of the bed it stands."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from diptych.synthetic.canvas import Canvas, Plane, Rgb, mix, shade
from diptych.synthetic.photographs import PALETTE, WOODS, pattern_colours
from diptych.synthetic.rooms.scene import Style
from diptych.synthetic.scenes import Item

_WHITE: Rgb = (246, 244, 238)
BED_LENGTH = 2.05
BED_HEIGHT = 0.55


def bed_edges(style: Style) -> tuple[float, float]:
    """The x of the bed's left and right side."""
    return style.bed_offset - style.bed_width / 2, style.bed_offset + style.bed_width / 2


def side_x(style: Style, side: str, share: float) -> float:
    """The x that lies `share` of the way from the bed's edge to the wall on a side."""
    left, right = bed_edges(style)
    return left + share * (-style.half_width - left) if side == "left" else right + share * (style.half_width - right)


def chair_box(style: Style, item: Item) -> tuple[float, float, float, float]:
    """x0, x1, z0, z1 of the chair."""
    x = side_x(style, item.place or "left", 0.48)
    return x - 0.4, x + 0.4, 1.05, 1.75


def suitcase_box(style: Style, item: Item) -> tuple[float, float, float, float]:
    """x0, x1, z0, z1 of the suitcase."""
    x = side_x(style, item.place or "left", 0.42)
    return x - 0.32, x + 0.32, 1.45, 1.72


def draw_window(canvas: Canvas, style: Style, curtains: Item, daylight: float) -> None:
    """The window and its curtains, on the back wall beside the bed; `daylight` 0 to 1 brightens the view."""
    x, low, high, half = side_x(style, style.window_side, 0.52), 0.75, style.height - 0.42, 0.42
    glass = Plane((x - half, low, 0), (2 * half, 0, 0), (0, high - low, 0))
    canvas.plane(glass.part(-0.07, -0.04, 1.07, 1.04), _WHITE)
    skies: Mapping[str, tuple[Rgb, Rgb]] = {
        "sea": ((176, 214, 240), (52, 118, 160)),
        "city": ((190, 210, 230), (120, 124, 134)),
        "hills": ((180, 216, 244), (96, 140, 88)),
        "night": ((34, 42, 84), (18, 20, 40)),
    }
    sky, ground = (shade(colour, 0.75 + 0.3 * daylight) for colour in skies[style.window_view])
    canvas.plane(glass, sky)
    canvas.plane(glass.part(0, 0, 1, 0.38), ground)
    if style.window_view in ("city", "night"):
        for left, top in ((0.05, 0.62), (0.3, 0.5), (0.52, 0.72), (0.78, 0.56)):
            canvas.plane(glass.part(left, 0.2, left + 0.17, top), shade(ground, 0.85))
    canvas.plane(glass.part(0.47, 0, 0.53, 1), _WHITE)
    canvas.plane(glass.part(0, 0.52, 1, 0.56), _WHITE)
    colours = pattern_colours(curtains.colour or "white")
    for x0, x1 in ((x - half - 0.34, x - half + 0.16), (x + half - 0.16, x + half + 0.34)):
        # Stripes lie across the folds: `across` of the cloth points up.
        cloth = Plane((x0, 0.06, 0.06), (0, high + 0.1, 0), (x1 - x0, 0, 0))
        canvas.patterned(cloth, colours, curtains.pattern or "plain", 0.25 if curtains.pattern != "striped" else 0.42)
    canvas.box((x - half - 0.45, high + 0.14, 0.03), (x + half + 0.45, high + 0.2, 0.09), WOODS[style.wood])


def draw_pictures(canvas: Canvas, style: Style, pictures: Item) -> None:
    """One to three framed pictures above the headboard."""
    count = pictures.count or 1
    width, height, gap = 0.56, 0.72, 0.12
    left = style.bed_offset - (count * width + (count - 1) * gap) / 2
    colour = PALETTE[pictures.colour or "white"]
    for index in range(count):
        frame = Plane(
            (left + index * (width + gap), style.headboard_height + 0.22, 0.02), (width, 0, 0), (0, height, 0)
        )
        canvas.plane(frame, shade(WOODS[style.wood], 0.5))
        canvas.plane(frame.part(0.08, 0.07, 0.92, 0.93), colour)
        canvas.plane(frame.part(0.08, 0.07, 0.92, 0.3), shade(colour, 0.72))
        canvas.ellipse(frame.part(0.5, 0.55, 0.8, 0.8), mix(colour, _WHITE, 0.55))


def draw_rug(canvas: Canvas, style: Style, rug: Item) -> None:
    """A large rug under the lower half of the bed, wider and longer than it."""
    half = style.bed_width / 2 + 0.62
    colours = pattern_colours(rug.colour or "white")
    whole = Plane((style.bed_offset - half, 0.01, 1.0), (2 * half, 0, 0), (0, 0, 1.55))
    canvas.plane(whole, shade(colours[0], 0.8))
    canvas.patterned(whole.part(0.02, 0.03, 0.98, 0.97), colours, rug.pattern or "plain", 0.34)


def draw_nightstands(canvas: Canvas, style: Style) -> None:
    """A nightstand on each side of the headboard, with a book on one and a cup on the other."""
    left, right = bed_edges(style)
    for x0, x1 in ((left - 0.5, left - 0.08), (right + 0.08, right + 0.5)):
        canvas.box((x0, 0.0, 0.05), (x1, 0.52, 0.5), WOODS[style.wood])
        canvas.plane(
            Plane((x0 + 0.05, 0.28, 0.505), (x1 - x0 - 0.1, 0, 0), (0, 0.16, 0)), shade(WOODS[style.wood], 1.05)
        )
    canvas.box((left - 0.38, 0.52, 0.2), (left - 0.18, 0.57, 0.36), _WHITE)
    canvas.box((right + 0.2, 0.52, 0.2), (right + 0.3, 0.62, 0.3), _WHITE)


def draw_bed(canvas: Canvas, style: Style, headboard: Item, blanket: Item, pillows: Item) -> None:
    """The bed with its headboard against the back wall and its foot towards the camera."""
    left, right = bed_edges(style)
    board = PALETTE[headboard.colour or "brown"]
    canvas.box((left - 0.06, 0.0, 0.02), (right + 0.06, style.headboard_height, 0.12), shade(board, 1.05))
    canvas.box((left, 0.0, 0.12), (right, 0.2, BED_LENGTH - 0.02), shade(WOODS[style.wood], 0.8))
    canvas.box((left + 0.02, 0.2, 0.12), (right - 0.02, BED_HEIGHT - 0.02, BED_LENGTH - 0.05), (232, 230, 226))
    _draw_pillows(canvas, style, pillows)
    colours = pattern_colours(blanket.colour or "white")
    pattern, period, start = blanket.pattern or "plain", 0.3, 0.72
    drop = BED_HEIGHT - 0.14
    for x, faces_camera in ((left - 0.02, canvas.camera.x < left), (right + 0.02, canvas.camera.x > right)):
        if faces_camera:
            side = Plane((x, BED_HEIGHT, start), (0, 0, BED_LENGTH - start), (0, -drop, 0))
            canvas.patterned(side, (shade(colours[0], 0.72), shade(colours[1], 0.72)), pattern, period)
    width = right - left + 0.04
    top = Plane((left - 0.02, BED_HEIGHT, start), (width, 0, 0), (0, 0, BED_LENGTH - start))
    canvas.patterned(top, colours, pattern, period)
    canvas.plane(top.part(0, 0, 1, 0.1), mix(colours[0], _WHITE, 0.7))
    front = Plane((left - 0.02, BED_HEIGHT, BED_LENGTH), (width, 0, 0), (0, -drop, 0))
    canvas.patterned(front, (shade(colours[0], 0.84), shade(colours[1], 0.84)), pattern, period)


def _draw_pillows(canvas: Canvas, style: Style, pillows: Item) -> None:
    count, colour = pillows.count or 1, PALETTE[pillows.colour or "white"]
    width = {1: 0.8, 2: 0.72, 3: 0.54}[count]
    gap = {1: 0.0, 2: 0.12, 3: 0.06}[count]
    left = style.bed_offset - (count * width + (count - 1) * gap) / 2
    for index in range(count):
        x = left + index * (width + gap)
        cushion = Plane((x, BED_HEIGHT - 0.04, 0.5), (width, 0, 0), (0, 0.46, -0.3))
        canvas.cushion(cushion.part(-0.04, -0.07, 1.04, 1.0), shade(colour, 0.6))
        canvas.cushion(cushion, colour)
        canvas.cushion(cushion.part(0.12, 0.4, 0.88, 0.92), mix(colour, _WHITE, 0.14))


def draw_wardrobe(canvas: Canvas, style: Style) -> None:
    """A wardrobe along one side wall, near the camera's end of it."""
    if style.wardrobe_side == "none":
        return
    sign = -1 if style.wardrobe_side == "left" else 1
    wall, inner = sign * style.half_width, sign * (style.half_width - 0.3)
    low, high = min(wall, inner), max(wall, inner)
    canvas.box((low, 0.0, 0.0), (high, 2.0, 1.0), WOODS[style.wood])
    for z in (0.06, 0.53):
        door = Plane((inner - sign * 0.005, 0.1, z), (0, 0, 0.42), (0, 1.82, 0))
        canvas.plane(door, shade(WOODS[style.wood], 0.8))


def draw_lamp(canvas: Canvas, style: Style, lamp: Item) -> tuple[float, float, float]:
    """A floor lamp; returns the middle of its shade, from where it glows."""
    x, z, foot, top = side_x(style, lamp.place or "left", 0.7), 0.75, 1.3, 1.85
    canvas.ellipse(Plane((x - 0.18, 0.02, z - 0.18), (0.36, 0, 0), (0, 0, 0.36)), (60, 58, 60))
    canvas.box((x - 0.025, 0.0, z - 0.02), (x + 0.025, foot, z + 0.02), (70, 68, 70))
    colour = PALETTE[lamp.colour or "white"]
    for x0, x1, light in ((-1.0, 1.0, 1.0), (-0.55, 0.55, 1.1)):
        corners = [(x + 0.36 * x0, foot, z), (x + 0.36 * x1, foot, z), (x + 0.25 * x1, top, z), (x + 0.25 * x0, top, z)]
        canvas.polygons(np.array(corners)[None], shade(colour, light))
    return x, (foot + top) / 2, z


def draw_plant(canvas: Canvas, style: Style, plant: Item) -> None:
    """A plant in a white pot: taller than a person, or a small one that a stool lifts above the furniture before it."""
    x, z = side_x(style, plant.place or "left", 0.72), 0.8
    large = plant.size == "large"
    scale, width, floor = (1.0, 0.21, 0.0) if large else (0.5, 0.16, 0.55)
    if not large:
        canvas.box((x - 0.2, floor - 0.06, z - 0.2), (x + 0.2, floor, z + 0.2), WOODS[style.wood])
        for leg in (x - 0.17, x + 0.13):
            canvas.box((leg, 0.0, z + 0.12), (leg + 0.04, floor - 0.06, z + 0.16), shade(WOODS[style.wood], 0.8))
    pot = floor + 2.0 * width
    corners = [(x - width, floor, z), (x + width, floor, z), (x + 1.4 * width, pot, z), (x - 1.4 * width, pot, z)]
    canvas.polygons(np.array(corners)[None], (214, 206, 196))
    blade = np.array([[0, 0], [0.35, 0.1], [0.7, 0.09], [1, 0], [0.7, -0.09], [0.35, -0.1]])
    for index in range(15):
        angle = np.pi * (0.06 + 0.88 * (index * 7 % 15) / 14)
        length = scale * (1.05 + 0.3 * np.sin(angle) - 0.12 * (index % 3))
        direction = np.array([0.62 * np.cos(angle), np.sin(angle), 0.0])
        normal = np.array([-direction[1], direction[0], 0.0])
        leaf = np.array([x, pot, z]) + length * blade[:, :1] * direction + scale * blade[:, 1:] * normal
        canvas.polygons(leaf[None], ((58, 124, 62), (78, 150, 74), (40, 96, 52))[index % 3])


def draw_chair(canvas: Canvas, style: Style, chair: Item) -> None:
    """An armchair that faces the camera."""
    x0, x1, z0, z1 = chair_box(style, chair)
    colour = PALETTE[chair.colour or "white"]
    for x in (x0 + 0.04, x1 - 0.1):
        canvas.box((x, 0.0, z1 - 0.1), (x + 0.06, 0.14, z1 - 0.04), WOODS["walnut"])
    canvas.box((x0, 0.12, z0), (x1, 0.95, z0 + 0.18), colour)
    arms = [(x0, x0 + 0.15), (x1 - 0.15, x1)]
    canvas.box((x0 + 0.1, 0.12, z0 + 0.16), (x1 - 0.1, 0.46, z1 - 0.04), shade(colour, 1.0))
    for a0, a1 in arms if canvas.camera.x < x0 else reversed(arms):
        canvas.box((a0, 0.12, z0 + 0.1), (a1, 0.64, z1), colour)


def draw_suitcase(canvas: Canvas, style: Style, suitcase: Item) -> None:
    """An upright suitcase with ribs and a handle, in front on one side."""
    x0, x1, z0, z1 = suitcase_box(style, suitcase)
    colour = PALETTE[suitcase.colour or "white"]
    for x in (x0 + 0.14, x1 - 0.18):
        canvas.box((x, 0.6, z0 + 0.1), (x + 0.04, 0.84, z0 + 0.14), (90, 90, 94))
    canvas.box((x0 + 0.14, 0.82, z0 + 0.1), (x1 - 0.14, 0.87, z0 + 0.14), (70, 70, 74))
    canvas.box((x0, 0.05, z0), (x1, 0.66, z1), colour)
    for share in (0.28, 0.5, 0.72):
        x = x0 + share * (x1 - x0)
        canvas.plane(Plane((x - 0.015, 0.08, z1 + 0.002), (0.03, 0, 0), (0, 0.55, 0)), shade(colour, 0.68))

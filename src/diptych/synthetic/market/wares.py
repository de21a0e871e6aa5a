"""How each object of a stall is painted, and where it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from diptych.synthetic.canvas import Canvas, Plane, Rgb, mix, shade
from diptych.synthetic.market.scene import Style
from diptych.synthetic.photographs import PALETTE, WOODS, pattern_colours
from diptych.synthetic.scenes import Item

_WHITE: Rgb = (246, 244, 238)
_INK: Rgb = (34, 32, 36)
_LEAF: Rgb = (58, 124, 62)
COUNTER_FRONT = 2.0  # z, in metres before the house
_FRONT = COUNTER_FRONT + 0.15  # of the awning
# Of each ware: its colour, how long and how high one piece is in shares of the space it has, pieces in a row.
_WARES: Mapping[str, tuple[Rgb, float, float, int]] = {
    "apples": ((204, 40, 44), 0.92, 0.92, 6),
    "lemons": ((244, 216, 62), 0.98, 0.72, 6),
    "oranges": ((240, 134, 30), 0.92, 0.92, 5),
    "cabbages": ((124, 182, 84), 1.0, 1.0, 3),
    "aubergines": ((92, 44, 122), 0.62, 1.25, 7),
    "loaves": ((178, 116, 60), 1.02, 0.7, 3),
    "fish": ((150, 176, 196), 1.05, 0.5, 3),
}
_DIGITS: Mapping[int, tuple[str, ...]] = {  # rows from the top
    1: (".#.", "##.", ".#.", ".#.", "###"),
    2: ("###", "..#", "###", "#..", "###"),
    3: ("###", "..#", ".##", "..#", "###"),
    5: ("###", "#..", "###", "..#", "###"),
    8: ("###", "#.#", "###", "#.#", "###"),
}


def barrel_x(style: Style, side: str) -> float:
    """The x of the barrel, before one end of the counter."""
    reach = style.half_width - 0.2
    return style.offset - reach if side == "left" else style.offset + reach


def flowers_x(style: Style, side: str) -> float:
    """The x of the flowers, between the sign and one end of the counter."""
    reach = 0.62
    return style.offset - reach if side == "left" else style.offset + reach


def draw_frame(canvas: Canvas, style: Style) -> None:
    """The posts that carry the awning, and the shelf between them."""
    wood = WOODS[style.wood]
    left, right = style.offset - style.half_width, style.offset + style.half_width
    for z in (1.0, COUNTER_FRONT):
        for x in (left, right - 0.08):
            canvas.box((x, 0.0, z - 0.08), (x + 0.08, style.awning_height + 0.1, z), wood)


def draw_seller(canvas: Canvas, style: Style, seller: Item) -> None:
    """The seller in an apron, in the middle behind the counter."""
    x, z, waist = style.offset, 1.3, 0.8
    skin, shirt = (222, 176, 142), (92, 98, 112)
    canvas.cushion(Plane((x - 0.33, waist, z), (0.66, 0, 0), (0, 0.8, 0)), shirt)
    apron = PALETTE[seller.colour or "white"]
    canvas.plane(Plane((x - 0.23, waist, z), (0.46, 0, 0), (0, 0.66, 0)), apron)
    for strap in (x - 0.2, x + 0.13):
        canvas.plane(Plane((strap, waist + 0.6, z), (0.07, 0, 0), (0, 0.18, 0)), apron)
    canvas.plane(Plane((x - 0.06, waist + 0.72, z), (0.12, 0, 0), (0, 0.14, 0)), shade(skin, 0.85))
    canvas.ellipse(Plane((x - 0.13, waist + 0.8, z), (0.26, 0, 0), (0, 0.32, 0)), skin)
    canvas.ellipse(Plane((x - 0.15, waist + 0.98, z), (0.3, 0, 0), (0, 0.18, 0)), apron)
    canvas.plane(Plane((x - 0.2, waist + 1.03, z), (0.4, 0, 0), (0, 0.05, 0)), shade(apron, 0.8))


def draw_counter(canvas: Canvas, style: Style, cloth: Item) -> None:
    """The table, and the cloth that hangs down before it."""
    left, right = style.offset - style.half_width + 0.06, style.offset + style.half_width - 0.06
    canvas.box((left, 0.0, 1.3), (right, style.counter_height, COUNTER_FRONT), WOODS[style.wood])
    colours = pattern_colours(cloth.colour or "white")
    top = Plane((left - 0.04, style.counter_height + 0.01, 1.75), (right - left + 0.08, 0, 0), (0, 0, 0.28))
    canvas.plane(top, shade(colours[0], 1.1))
    front = Plane(
        (left - 0.04, 0.08, COUNTER_FRONT + 0.03), (right - left + 0.08, 0, 0), (0, style.counter_height - 0.07, 0)
    )
    canvas.patterned(front, colours, cloth.pattern or "plain", 0.26)
    canvas.plane(front.part(0, 0, 1, 0.05), shade(colours[0], 0.7))


def draw_crate(canvas: Canvas, style: Style, side: str, crate: Item) -> None:
    """A slanting crate on the counter, full of one kind of goods."""
    width, gap = style.half_width - 0.36, 0.3
    x0 = style.offset - gap - width if side == "left" else style.offset + gap
    low, high = style.counter_height, style.counter_height + 0.62
    wood = shade(WOODS[style.wood], 1.15)
    canvas.box((x0, low, 1.38), (x0 + width, high, 1.42), shade(wood, 0.8))
    slope = Plane((x0, low + 0.12, COUNTER_FRONT - 0.06), (width, 0, 0), (0, high - low - 0.1, -0.55))
    canvas.plane(slope.part(-0.03, -0.08, 1.03, 1.04), shade(wood, 0.7))
    draw_goods(canvas, slope, crate.goods or "apples")
    canvas.plane(Plane((x0 - 0.02, low, COUNTER_FRONT - 0.04), (width + 0.04, 0, 0), (0, 0.16, 0)), wood)
    canvas.plane(
        Plane((x0 - 0.02, low + 0.075, COUNTER_FRONT - 0.035), (width + 0.04, 0, 0), (0, 0.012, 0)), shade(wood, 0.7)
    )


def draw_goods(canvas: Canvas, slope: Plane, goods: str) -> None:
    """Rows of goods on a slope, the farthest first."""
    colour, length, height, in_row = _WARES[goods]
    num_rows = 2 if in_row < 4 else 3
    for row in reversed(range(num_rows)):
        low = row / num_rows
        high = low + (0.12 + 1.05 * height) / num_rows
        middles = [(index + 0.5 + 0.5 * (row % 2)) / in_row for index in range(in_row - row % 2)]
        half = length / in_row / 2
        pieces = [slope.part(a - half, low, a + half, high) for a in middles]
        for first, light in ((0, 1.0), (1, 0.94)):  # every other one, as neighbours overlap
            some = pieces[first::2]
            if some:
                canvas.ellipses([piece.part(-0.05, -0.1, 1.05, 1.0) for piece in some], shade(colour, 0.6))
                canvas.ellipses(some, shade(colour, light))
        _finish(canvas, pieces, goods, colour)


def _finish(canvas: Canvas, pieces: Sequence[Plane], goods: str, colour: Rgb) -> None:
    """What tells one kind of goods from another of its colour."""

    def spots(a0: float, b0: float, a1: float, b1: float, paint: Rgb) -> None:
        canvas.ellipses([piece.part(a0, b0, a1, b1) for piece in pieces], paint)

    if goods in ("apples", "lemons", "oranges"):
        spots(0.22, 0.55, 0.5, 0.85, mix(colour, _WHITE, 0.5))
    elif goods == "cabbages":
        spots(0.2, 0.15, 0.8, 0.8, mix(colour, _WHITE, 0.3))
        spots(0.45, 0.1, 0.55, 0.8, mix(colour, _WHITE, 0.65))
    elif goods == "aubergines":
        spots(0.2, 0.78, 0.8, 1.08, _LEAF)
    elif goods == "loaves":
        for a in (0.25, 0.45, 0.65):
            spots(a, 0.3, a + 0.09, 0.9, mix(colour, _WHITE, 0.45))
    else:
        tail = np.array([[1.0, 0.88, 0.5], [1.0, 1.12, 0.95], [1.0, 1.12, 0.05]])
        canvas.polygons(np.stack([tail @ piece.matrix()[:, :3] for piece in pieces]), shade(colour, 0.8))
        spots(0.1, 0.1, 0.85, 0.5, mix(colour, _WHITE, 0.6))
        spots(0.1, 0.5, 0.17, 0.75, _INK)


def draw_sign(canvas: Canvas, style: Style, sign: Item) -> None:
    """A board with the price, on the front of the counter."""
    x, width, height = style.offset, 0.62, 0.66
    board = Plane(
        (x - width / 2, style.counter_height - height - 0.02, COUNTER_FRONT + 0.05), (width, 0, 0), (0, height, 0)
    )
    colour = PALETTE[sign.colour or "white"]
    canvas.plane(board.part(-0.07, -0.07, 1.07, 1.07), shade(WOODS["walnut"], 0.7))
    canvas.plane(board, colour)
    ink = _INK if sign.colour in ("white", "yellow") else _WHITE
    for row, cells in enumerate(_DIGITS[sign.price or 1]):
        for column, cell in enumerate(cells):
            if cell == "#":
                a, b = 0.2 + 0.2 * column, 0.9 - 0.16 * (row + 1)
                canvas.plane(board.part(a, b, a + 0.205, b + 0.165), ink)


def draw_awning(canvas: Canvas, style: Style, awning: Item) -> None:
    """The slanting roof of cloth, with its hem hanging down in front."""
    left, width = style.offset - style.half_width - 0.15, 2 * style.half_width + 0.3
    colours, pattern = pattern_colours(awning.colour or "white"), awning.pattern or "plain"
    front = style.awning_height
    roof = Plane((left, front, _FRONT), (width, 0, 0), (0, 0.85, -1.25))
    canvas.patterned(roof, colours, pattern, 0.34)
    canvas.plane(roof.part(0, 0.97, 1, 1), shade(colours[0], 0.8))
    dark = (shade(colours[0], 0.8), shade(colours[1], 0.8))
    num = 9
    for index in range(num):
        piece = Plane((left + index * width / num, front - 0.24, _FRONT), (width / num, 0, 0), (0, 0.24, 0))
        second = pattern != "plain" and index % 2 == 1
        canvas.plane(piece.part(0, 0.35, 1, 1), dark[second])
        canvas.ellipse(piece.part(0, 0, 1, 0.7), dark[second])
    canvas.plane(Plane((left, front - 0.01, _FRONT), (width, 0, 0), (0, 0.02, 0)), shade(colours[0], 0.6))


def draw_lanterns(canvas: Canvas, style: Style, lanterns: Item) -> None:
    """One to three paper lanterns that hang from the awning's front."""
    count, colour = lanterns.count or 1, PALETTE[lanterns.colour or "white"]
    top = style.awning_height - 0.2
    for index in range(count):
        x = style.offset + (-0.85, 0.85, 0.0)[index]  # the middle last: the seller is behind it
        canvas.plane(Plane((x - 0.01, top - 0.1, _FRONT), (0.02, 0, 0), (0, 0.12, 0)), _INK)
        body = Plane((x - 0.19, top - 0.46, _FRONT), (0.38, 0, 0), (0, 0.38, 0))
        canvas.ellipse(body.part(-0.05, -0.05, 1.05, 1.05), shade(colour, 0.6))
        canvas.ellipse(body, colour)
        canvas.ellipse(body.part(0.3, 0.06, 0.7, 0.94), mix(colour, _WHITE, 0.35))
        for b in (0.0, 0.9):
            canvas.plane(body.part(0.3, b, 0.7, b + 0.1), _INK)


def draw_pumpkins(canvas: Canvas, style: Style, pumpkins: Item) -> None:
    """One to three pumpkins in a row on the ground, before the middle of the counter."""
    count, colour = pumpkins.count or 1, PALETTE["orange"]
    for index in range(count):
        x, z = style.offset + (index - (count - 1) / 2) * 0.46, 2.75
        body = Plane((x - 0.22, 0.0, z), (0.44, 0, 0), (0, 0.34, 0))
        canvas.ellipse(body.part(-0.03, -0.04, 1.03, 1.0), shade(colour, 0.55))
        canvas.ellipse(body, shade(colour, 0.9))
        canvas.ellipse(body.part(0.18, 0, 0.82, 1), colour)
        canvas.ellipse(body.part(0.38, 0.02, 0.62, 0.98), shade(colour, 1.08))
        canvas.plane(body.part(0.45, 0.95, 0.57, 1.2), _LEAF)


def draw_barrel(canvas: Canvas, style: Style, barrel: Item) -> None:
    """A painted barrel with two hoops, before one end of the counter."""
    x, z, top = barrel_x(style, barrel.place or "left"), 2.65, 0.78
    colour = PALETTE[barrel.colour or "brown"]
    belly = [
        (-0.25, 0.0),
        (0.25, 0.0),
        (0.32, 0.26),
        (0.32, 0.52),
        (0.25, top),
        (-0.25, top),
        (-0.32, 0.52),
        (-0.32, 0.26),
    ]
    canvas.polygons(np.array([[(x + dx, y, z) for dx, y in belly]]), shade(colour, 0.9))
    light = [(dx * 0.45 - 0.03, y) for dx, y in belly]
    canvas.polygons(np.array([[(x + dx, y, z) for dx, y in light]]), shade(colour, 1.1))
    for y in (0.14, 0.58):
        canvas.plane(Plane((x - 0.3, y, z), (0.6, 0, 0), (0, 0.06, 0)), (74, 72, 76))
    canvas.ellipse(Plane((x - 0.25, top, z - 0.2), (0.5, 0, 0), (0, 0, 0.4)), shade(colour, 0.7))


def draw_flowers(canvas: Canvas, style: Style, flowers: Item) -> None:
    """A bucket of flowers of one colour, before the counter."""
    x, z = flowers_x(style, flowers.place or "left"), 2.3
    corners = [(x - 0.14, 0.0, z), (x + 0.14, 0.0, z), (x + 0.2, 0.34, z), (x - 0.2, 0.34, z)]
    canvas.polygons(np.array([corners]), (148, 152, 160))
    canvas.ellipse(Plane((x - 0.31, 0.28, z), (0.62, 0, 0), (0, 0.42, 0)), _LEAF)
    colour = PALETTE[flowers.colour or "red"]
    heart = _INK if flowers.colour == "yellow" else (250, 226, 120)
    for index in range(10):
        angle, reach = index * 2.4, 0.28 * np.sqrt((index + 0.5) / 10)
        a, b = x + reach * np.cos(angle), 0.54 + 0.72 * reach * np.sin(angle)
        bloom = Plane((a - 0.085, b - 0.085, z), (0.17, 0, 0), (0, 0.17, 0))
        canvas.ellipse(bloom, shade(colour, (1.0, 0.85, 1.1)[index % 3]))
        canvas.ellipse(bloom.part(0.36, 0.36, 0.64, 0.64), mix(colour, heart, 0.8))

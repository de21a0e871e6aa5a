"""Scene to picture: where the photographer stands, how the light falls, and in which order a stall is painted."""

from __future__ import annotations

import numpy as np

from diptych.synthetic import photographs
from diptych.synthetic.canvas import Array, Canvas, Plane, Rgb, mix, shade
from diptych.synthetic.market import wares
from diptych.synthetic.market.scene import Stall, Style
from diptych.synthetic.photographs import PALETTE, Photograph, develop

_NEUTRAL = 190  # the mask value that leaves the picture as it is
_FRONT = 4.2  # how far the ground is painted from the house towards the camera, in metres: beyond the picture's edge
_HALF, _HEIGHT = 4.0, 4.6  # of the house, beyond the picture's edge too
_STONE: Rgb = (226, 220, 208)
_GROUNDS: dict[str, Rgb] = {"cobbles": (150, 142, 132), "slabs": (186, 178, 162), "asphalt": (112, 112, 116)}


def sample_photograph(style: Style, rng: np.random.Generator) -> Photograph:
    """A photograph from about where the stall's photographer always stands."""
    return photographs.sample_photograph((style.camera_offset, style.camera_height, 4.9), 0.335, rng)


def draw_stall(scene: Stall, photograph: Photograph, size: int = 128) -> Array:
    """The photograph of a stall, (size, size, 3) uint8 RGB; the same arguments give the same pixels."""
    canvas, style = Canvas(photograph.camera, size), scene.style
    _draw_street(canvas, scene)
    _shade_street(canvas, scene)
    wares.draw_frame(canvas, style)
    if scene.seller is not None:
        wares.draw_seller(canvas, style, scene.seller)
    wares.draw_counter(canvas, style, scene.cloth)
    for side, crate in (("left", scene.left_crate), ("right", scene.right_crate)):
        wares.draw_crate(canvas, style, side, crate)
    if scene.sign is not None:
        wares.draw_sign(canvas, style, scene.sign)
    wares.draw_awning(canvas, style, scene.awning)
    if scene.lanterns is not None:
        wares.draw_lanterns(canvas, style, scene.lanterns)
    if scene.flowers is not None:
        wares.draw_flowers(canvas, style, scene.flowers)
    if scene.pumpkins is not None:
        wares.draw_pumpkins(canvas, style, scene.pumpkins)
    if scene.barrel is not None:
        wares.draw_barrel(canvas, style, scene.barrel)
    return develop(canvas, photograph, style.sunny_side)


def _draw_street(canvas: Canvas, scene: Stall) -> None:
    """The house behind the stall, with its windows, and the ground."""
    colour = mix(PALETTE[scene.house.colour or "white"], _STONE, 0.25)
    wall = Plane((-_HALF, 0, 0), (2 * _HALF, 0, 0), (0, _HEIGHT, 0))
    canvas.plane(wall, colour)
    canvas.plane(wall.part(0, 0, 1, 0.1), shade(_STONE, 0.72))
    for x in (-3.3, -2.35, -1.4, 1.4, 2.35, 3.3):
        _draw_window(canvas, scene.style.windows, Plane((x - 0.3, 1.35, 0.01), (0.6, 0, 0), (0, 1.25, 0)))
    ground = Plane((-_HALF, 0, 0), (2 * _HALF, 0, 0), (0, 0, _FRONT))
    stone = _GROUNDS[scene.style.ground]
    canvas.plane(ground, stone)
    num_across, num_along = {"cobbles": (32, 14), "slabs": (10, 5), "asphalt": (0, 0)}[scene.style.ground]
    for index in range(1, num_across):
        canvas.plane(ground.part(index / num_across - 0.002, 0, index / num_across + 0.002, 1), shade(stone, 0.84))
    for index in range(1, num_along):
        canvas.plane(ground.part(0, index / num_along - 0.004, 1, index / num_along + 0.004), shade(stone, 0.84))


def _draw_window(canvas: Canvas, windows: str, opening: Plane) -> None:
    canvas.plane(opening.part(-0.12, -0.06, 1.12, 1.06), _STONE)
    if windows == "arched":
        canvas.ellipse(opening.part(-0.12, 0.7, 1.12, 1.26), _STONE)
        canvas.ellipse(opening.part(0, 0.75, 1, 1.2), (70, 84, 104))
    canvas.plane(opening, (70, 84, 104))
    canvas.plane(opening.part(0.46, 0, 0.54, 1), _STONE)
    canvas.plane(opening.part(0, 0.55, 1, 0.6), _STONE)
    if windows == "shuttered":
        for left in (-0.55, 1.1):
            canvas.plane(opening.part(left, -0.02, left + 0.45, 1.02), (96, 88, 78))


def _shade_street(canvas: Canvas, scene: Stall) -> None:
    """The shadow under the stall and behind it, and those of what stands in front."""
    style = scene.style
    left, right = style.offset - style.half_width, style.offset + style.half_width
    lean = 0.45 if style.sunny_side == "left" else -0.45
    areas = [
        (Plane((-_HALF, 0, 0), (2 * _HALF, 0, 0), (0, 0, 0.3)), _NEUTRAL - 40),
        (Plane((left + lean, 0.4, 0), (right - left, 0, 0), (0, 1.9, 0)), _NEUTRAL - 60),
        (Plane((left - 0.1, 0, 0.6), (right - left + 0.2, 0, 0), (lean, 0, 1.9)), _NEUTRAL - 95),
    ]
    if scene.barrel is not None:
        x = wares.barrel_x(style, scene.barrel.place or "left")
        areas.append((Plane((x - 0.36, 0, 2.2), (0.72, 0, 0), (lean * 0.5, 0, 0.75)), _NEUTRAL - 100))
    if scene.flowers is not None:
        x = wares.flowers_x(style, scene.flowers.place or "left")
        areas.append((Plane((x - 0.25, 0, 2.1), (0.5, 0, 0), (0, 0, 0.35)), _NEUTRAL - 90))
    if scene.pumpkins is not None:
        reach = 0.24 * (scene.pumpkins.count or 1)
        areas.append((Plane((style.offset - reach, 0, 2.5), (2 * reach, 0, 0), (0, 0, 0.5)), _NEUTRAL - 90))
    canvas.multiply(canvas.mask(areas, _NEUTRAL, blur=0.014), _NEUTRAL)

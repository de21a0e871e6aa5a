"""Scene to picture: where the photographer stands, how the light falls, and in which order a room is painted."""

from __future__ import annotations

import numpy as np

from diptych.synthetic import photographs
from diptych.synthetic.canvas import Array, Canvas, Plane, Rgb, mix, shade
from diptych.synthetic.photographs import PALETTE, Photograph, develop, pattern_colours
from diptych.synthetic.rooms import furniture
from diptych.synthetic.rooms.scene import Room, Style

_WHITE: Rgb = (248, 246, 240)
_NEUTRAL = 190  # the mask value that leaves the picture as it is; 255 is then a third more light
_FRONT = 3.6  # how far the room is painted from the back wall towards the camera, in metres: beyond the picture's edge


def sample_photograph(style: Style, rng: np.random.Generator) -> Photograph:
    """A photograph from about where the hotel's photographer always stands."""
    return photographs.sample_photograph((style.camera_offset, style.camera_height, 4.9), 0.31, rng)


def draw_room(scene: Room, photograph: Photograph, size: int = 128) -> Array:
    """The photograph of a room, (size, size, 3) uint8 RGB; the same arguments give the same pixels."""
    canvas = Canvas(photograph.camera, size)
    _draw_shell(canvas, scene)
    if scene.rug is not None:
        furniture.draw_rug(canvas, scene.style, scene.rug)
    _shade_shell(canvas, scene, photograph.daylight)
    furniture.draw_window(canvas, scene.style, scene.curtains, photograph.daylight)
    if scene.pictures is not None:
        furniture.draw_pictures(canvas, scene.style, scene.pictures)
    furniture.draw_wardrobe(canvas, scene.style)
    furniture.draw_nightstands(canvas, scene.style)
    furniture.draw_bed(canvas, scene.style, scene.headboard, scene.blanket, scene.pillows)
    glow = None if scene.lamp is None else furniture.draw_lamp(canvas, scene.style, scene.lamp)
    if scene.plant is not None:
        furniture.draw_plant(canvas, scene.style, scene.plant)
    if scene.chair is not None:
        furniture.draw_chair(canvas, scene.style, scene.chair)
    if scene.suitcase is not None:
        furniture.draw_suitcase(canvas, scene.style, scene.suitcase)
    return develop(canvas, photograph, scene.style.window_side, glow)


def _draw_shell(canvas: Canvas, scene: Room) -> None:
    """Ceiling, floor, the three walls and their skirting boards."""
    half, height = scene.style.half_width, scene.style.height
    canvas.plane(Plane((-half, height, 0), (2 * half, 0, 0), (0, 0, _FRONT)), (238, 236, 230))
    _draw_floor(canvas, scene)
    base, second = pattern_colours(scene.walls.colour or "white")
    base, second = mix(base, _WHITE, 0.3), mix(second, _WHITE, 0.15)
    pattern = scene.walls.pattern or "plain"
    for side, light in ((-half, 0.86), (half, 0.86)):
        wall = Plane((side, 0, 0), (0, 0, _FRONT - 0.8), (0, height, 0))
        canvas.patterned(wall, (shade(base, light), shade(second, light)), pattern, 0.42)
        canvas.plane(wall.part(0, 0, 1, 0.04), shade(_WHITE, 0.9))
        canvas.plane(wall.part(0, 0.97, 1, 1), shade(_WHITE, 0.92))
    back = Plane((-half, 0, 0), (2 * half, 0, 0), (0, height, 0))
    canvas.patterned(back, (base, second), pattern, 0.42)
    canvas.plane(back.part(0, 0, 1, 0.04), _WHITE)
    canvas.plane(back.part(0, 0.97, 1, 1), _WHITE)


def _draw_floor(canvas: Canvas, scene: Room) -> None:
    """Boards, tiles or a carpet, as the hotel has it; the joints are faint, so as not to pass for a pattern."""
    colour = PALETTE[scene.floor.colour or "brown"]
    colour = mix(colour, _WHITE, 0.12)
    half = scene.style.half_width
    floor = Plane((-half, 0, 0), (2 * half, 0, 0), (0, 0, _FRONT))
    canvas.plane(floor, colour)
    joint = shade(colour, 0.86)
    if scene.style.flooring in ("boards", "tiles"):
        for index in range(1, 14):
            canvas.plane(floor.part(index / 14 - 0.003, 0, index / 14 + 0.003, 1), joint)
    if scene.style.flooring == "tiles":
        for index in range(1, 10):
            canvas.plane(floor.part(0, index / 10 - 0.004, 1, index / 10 + 0.004), joint)


def _shade_shell(canvas: Canvas, scene: Room, daylight: float) -> None:
    """Dark corners, the shadows of the furniture, and the light that the window throws on the floor."""
    style = scene.style
    half, height = style.half_width, style.height
    left, right = furniture.bed_edges(style)
    lit = _NEUTRAL + int(50 * daylight) * (style.window_view != "night")
    x = furniture.side_x(style, style.window_side, 0.52)
    lean = -0.5 if style.window_side == "right" else 0.5
    areas = [
        (Plane((x - 0.4, 0.0, 0.5), (0.8, 0, 0), (lean, 0, 1.5)), lit),
        (Plane((-half, height - 0.12, 0), (2 * half, 0, 0), (0, 0.12, 0)), _NEUTRAL - 40),
        (Plane((-half, 0, 0), (2 * half, 0, 0), (0, 0, 0.25)), _NEUTRAL - 55),
    ]
    for wall in (-half, half):
        areas.append((Plane((wall, 0, 0), (0, 0, 0.14), (0, height, 0)), _NEUTRAL - 40))
        inner = wall - 0.2 * np.sign(wall)
        areas.append((Plane((wall, 0, 0), (inner - wall, 0, 0), (0, 0, _FRONT)), _NEUTRAL - 40))
    areas.append((Plane((left - 0.18, 0, 0), (right - left + 0.36, 0, 0), (0, 0, 2.2)), _NEUTRAL - 95))
    areas.append((Plane((left - 0.6, 0, 0), (right - left + 1.2, 0, 0), (0, 0, 0.6)), _NEUTRAL - 95))
    boxes = []
    if scene.chair is not None:
        boxes.append(furniture.chair_box(style, scene.chair))
    if scene.suitcase is not None:
        boxes.append(furniture.suitcase_box(style, scene.suitcase))
    for x0, x1, z0, z1 in boxes:
        areas.append((Plane((x0 - 0.1, 0, z0 - 0.1), (x1 - x0 + 0.2, 0, 0), (0, 0, z1 - z0 + 0.2)), _NEUTRAL - 100))
    for item in (scene.lamp, scene.plant):
        if item is not None:
            x = furniture.side_x(style, item.place or "left", 0.7)
            areas.append((Plane((x - 0.3, 0, 0.55), (0.6, 0, 0), (0, 0, 0.5)), _NEUTRAL - 80))
    canvas.multiply(canvas.mask(areas, _NEUTRAL, blur=0.014), _NEUTRAL)

"""The settings that are built for an audience: stadium, gallery, stage, conference hall.

Every function takes the canvas, the scene, the town's random numbers and the event's.
"""

from __future__ import annotations

import numpy as np

from diptych.synthetic.canvas import Canvas, Plane, Rgb, mix, shade
from diptych.synthetic.newsroom.scene import Scene
from diptych.synthetic.newsroom.scenery import (
    PALETTE,
    draw_board,
    draw_crowd_stand,
    draw_flags,
    draw_people,
    draw_sky,
    upright,
)

Rng = np.random.Generator


def draw_stadium(canvas: Canvas, scene: Scene, town: Rng, event: Rng) -> None:
    """A pitch with players of two sides before a full stand."""
    draw_sky(canvas, scene.light, event)
    roof: Rgb = shade((120, 128, 138), float(town.uniform(0.7, 1.2)))
    draw_crowd_stand(canvas, Plane((-18, 1.2, -18), (36, 0, 0), (0, 8, -6)), 46, 9, event)
    canvas.box((-20, 9.2, -25), (20, 10.2, -16), roof)
    for x in np.linspace(-18, 18, 7).tolist():
        canvas.plane(upright(x, 0, -16.5, 0.3, 9.4), shade(roof, 0.7))
    boards = list(PALETTE.values())
    for index in range(9):
        colour = boards[int(town.integers(len(boards)))]
        draw_board(canvas, upright(-18 + 4 * index, 0, -16, 3.9, 1.2), colour, town, rows=1)
    grass: Rgb = (72, 140, 62)
    canvas.plane(Plane((-60, 0, -16), (120, 0, 0), (0, 0, 27.4)), grass)
    for index in range(8):
        canvas.plane(Plane((-60, 0, -16 + 3.4 * index), (120, 0, 0), (0, 0, 1.7)), shade(grass, 1.12))
    canvas.plane(Plane((-60, 0.01, -14.5), (120, 0, 0), (0, 0, 0.2)), (240, 244, 238))
    canvas.plane(Plane((-0.08, 0.01, -14.5), (0.16, 0, 0), (0, 0, 26)), (240, 244, 238))
    shirt = PALETTE[scene.colour]
    others = [colour for name, colour in PALETTE.items() if name != scene.colour]
    opponents = others[int(event.integers(len(others)))]
    draw_people(canvas, 5, (-7, 7, -9, -2), event, coat=opponents)
    draw_people(canvas, scene.count, (-3.1, 3.1, -5, 5), event, coat=shirt)
    x, z = event.uniform(-3, 3), event.uniform(4, 6)
    canvas.ellipse(upright(x, 0, z, 0.3, 0.3), (250, 250, 250))
    canvas.ellipse(upright(x + 0.09, 0.1, z + 0.01, 0.1, 0.1), (30, 30, 30))


def _draw_floor(canvas: Canvas, colour: Rgb, slab: float) -> None:
    """The floor of a hall."""
    canvas.patterned(Plane((-14, 0, -5), (28, 0, 0), (0, 0, 16.3)), (colour, shade(colour, 0.88)), "checked", slab)


def draw_gallery(canvas: Canvas, scene: Scene, town: Rng, event: Rng) -> None:
    """Framed pictures on a wall, a sculpture, visitors."""
    wall = mix(PALETTE[scene.colour], (240, 238, 232), 0.25)
    canvas.pixels[:] = 226
    canvas.plane(upright(-20, 0, -5, 40, 7), wall)
    canvas.plane(upright(-20, 0, -4.98, 40, 0.35), (228, 224, 216))
    canvas.plane(upright(-20, 6.4, -4.98, 40, 0.6), (228, 224, 216))
    for x in np.linspace(-12, 12, 9).tolist():
        canvas.ellipse(upright(x, 5.9, -4.9, 0.3, 0.3), (255, 250, 226))
    _draw_floor(canvas, shade((178, 148, 112), float(town.uniform(0.8, 1.15))), float(town.uniform(0.7, 1.3)))
    width = 15 / scene.count
    for index in range(scene.count):
        left = -7.5 + width * index + 0.3
        frame = upright(left, 1.3, -4.9, width - 0.6, float(event.uniform(2.4, 3.6)))
        canvas.plane(frame, (150, 116, 52))
        _draw_painting(canvas, frame.part(0.06, 0.06, 0.94, 0.94), event)
        canvas.plane(upright(left + 0.2, 0.9, -4.9, 0.6, 0.25), (250, 250, 246))
    canvas.box((3.6, 0, -1.5), (4.6, 1.2, -0.5), (222, 218, 210))
    for _ in range(9):
        size = float(event.uniform(0.25, 0.6))
        corner = upright(3.7 + event.uniform(0, 0.5), 1.2 + event.uniform(0, 1.3), -0.7, size, size)
        canvas.ellipse(corner, shade((120, 116, 104), float(event.uniform(0.6, 1.4))))
    draw_people(canvas, scene.num_people, (-3, 3, -0.2, 5.2), event)


def _draw_painting(canvas: Canvas, plane: Plane, rng: Rng) -> None:
    """An abstract picture of patches and dots."""
    colours = list(PALETTE.values())

    def colour() -> Rgb:
        return shade(colours[int(rng.integers(len(colours)))], float(rng.uniform(0.5, 1.1)))

    canvas.plane(plane, colour())
    for _ in range(34):
        a, b = rng.uniform(0, 0.8, 2).tolist()
        w, h = rng.uniform(0.04, 0.3, 2).tolist()
        part = plane.part(a, b, min(a + w, 1.0), min(b + h, 1.0))
        (canvas.ellipse if rng.random() < 0.4 else canvas.plane)(part, colour())


def draw_stage(canvas: Canvas, scene: Scene, town: Rng, event: Rng) -> None:
    """A stage under beams of light, performers on it, a crowd before it."""
    draw_sky(canvas, scene.light, event)
    canvas.box((-9, 0, -12), (9, 8.6, -4), (34, 32, 40))
    colour = PALETTE[scene.colour]
    for index in range(scene.count):
        x = -7 + 14 * (index + 0.5) / scene.count
        foot = x + event.uniform(-2, 2)
        for widening, share in ((0.9, 0.35), (0.5, 0.6), (0.2, 0.9)):
            beam = np.array([[[x, 8.0, -3.9], [foot - widening, 1.4, -3.9], [foot + widening, 1.4, -3.9]]])
            canvas.polygons(beam, mix((34, 32, 40), colour, share))
        canvas.ellipse(upright(x - 0.25, 7.8, -3.8, 0.5, 0.4), (255, 252, 240))
    for x in np.arange(-9, 9, 0.6).tolist():
        canvas.polygons(np.array([[[x, 8.1, -3.7], [x + 0.1, 8.1, -3.7], [x + 0.6, 8.7, -3.7]]]), (150, 150, 156))
    for side in (-10.6, 8.8):
        for level in range(5):
            canvas.box((side, 1.4 * level, -5), (side + 1.8, 1.4 * level + 1.3, -3.6), (52, 50, 54))
            canvas.ellipse(upright(side + 0.35, 1.4 * level + 0.1, -3.5, 1.1, 1.1), (96, 94, 98))
    canvas.box((-8.6, 0, -7), (8.6, 1.3, -3.5), shade((96, 76, 60), float(town.uniform(0.8, 1.2))))
    draw_people(canvas, 5, (-5, 5, -3.6, -3.5), event, floor=1.3)
    draw_board(canvas, upright(-3.5, 5.6, -3.75, 7, 1.2), shade(colour, 0.8), event, rows=1)
    canvas.plane(Plane((-60, 0, -3.4), (120, 0, 0), (0, 0, 14.7)), (54, 62, 48))
    people = draw_people(canvas, scene.num_people, (-7, 7, -1.5, 6.5), event)
    for x, z in people[::2]:
        for side in (-0.28, 0.22):
            canvas.plane(upright(x + side, 1.2, z + 0.01, 0.09, 0.85), (200, 160, 130))


def draw_conference(canvas: Canvas, scene: Scene, town: Rng, event: Rng) -> None:
    """A long table before panelling and flags, people in dark suits behind it."""
    wood: Rgb = shade((132, 92, 62), float(town.uniform(0.75, 1.25)))
    canvas.pixels[:] = 214
    canvas.plane(upright(-20, 0, -4, 40, 6.5), wood)
    step = float(town.uniform(1.2, 2.2))
    for x in np.arange(-18, 18, step).tolist():
        canvas.plane(upright(x, 0.6, -3.98, step - 0.3, 2.4), shade(wood, 0.85))
        canvas.plane(upright(x, 3.4, -3.98, step - 0.3, 2.6), shade(wood, 1.12))
        canvas.plane(upright(x + 0.15, 3.55, -3.96, step - 0.6, 2.3), shade(wood, 0.95))
    _draw_floor(canvas, (120, 52, 50) if town.random() < 0.5 else (60, 76, 112), float(town.uniform(0.5, 0.9)))
    draw_board(canvas, upright(-3, 4.2, -3.9, 6, 0.9), PALETTE["white"], event, rows=1)
    places = [(-6.5 + 13 * (i + 0.5) / scene.count - 0.5, -2.5) for i in range(scene.count)]
    draw_flags(canvas, places, 3.6, event)
    draw_people(canvas, scene.num_people, (-4, 4, 2.4, 2.5), event, coat=(38, 40, 52))
    cloth = PALETTE[scene.colour]
    canvas.box((-5.2, 0, 3), (5.2, 0.95, 4.4), cloth)
    for x in np.arange(-5, 5, 0.55).tolist():
        canvas.plane(upright(x, 0, 4.42, 0.1, 0.93), shade(cloth, 0.78))
    for x in np.linspace(-4.6, 4.4, 11).tolist():
        x += event.uniform(-0.2, 0.2)
        canvas.plane(Plane((x, 0.96, 3.3), (0.4, 0, 0), (0.1, 0, 0.6)), (250, 250, 246))
        canvas.plane(upright(x + 0.5, 0.95, 4.0, 0.1, 0.28), (190, 214, 226))
        if event.random() < 0.4:
            canvas.plane(upright(x - 0.12, 0.95, 4.1, 0.12, 0.4), (60, 120, 80))

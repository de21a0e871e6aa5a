"""The settings under the sky: bridge, quay, platform, hills, streets, field. Each draws one scene on a canvas.

Every function takes the canvas, the scene, the town's random numbers and the event's.
"""

from __future__ import annotations

import numpy as np

from diptych.synthetic.canvas import Canvas, Plane, Rgb, shade
from diptych.synthetic.newsroom.scene import Scene
from diptych.synthetic.newsroom.scenery import (
    PALETTE,
    draw_board,
    draw_flags,
    draw_ground,
    draw_people,
    draw_person,
    draw_row,
    draw_sky,
    draw_smoke,
    draw_tree,
    faded,
    upright,
)

Rng = np.random.Generator
_WATER: Rgb = (78, 106, 124)
_STONE: Rgb = (150, 146, 140)


def _draw_water(canvas: Canvas, colour: Rgb, rng: Rng, z0: float, z1: float) -> None:
    """Water between two depths, with ripples."""
    canvas.plane(Plane((-60, 0.01, z0), (120, 0, 0), (0, 0, z1 - z0)), colour)
    for factor in (0.82, 1.25):
        middles = np.column_stack([rng.uniform(-20, 20, 220), np.full(220, 0.02), rng.uniform(z0, z1 - 0.4, 220)])
        shape = np.array([[-0.5, 0, 0], [0, 0, 0.07], [0.5, 0, 0], [0, 0, -0.07]])
        canvas.polygons(middles[:, None] + shape * rng.uniform(0.3, 1.4, (220, 1, 1)), shade(colour, factor))


def draw_bridge(canvas: Canvas, scene: Scene, town: Rng, event: Rng) -> None:
    """A cable bridge across a river, a far bank with houses, people on the near bank behind a ribbon."""
    draw_sky(canvas, scene.light, event)
    draw_row(canvas, -32, town, -34, 34)
    _draw_water(canvas, _WATER, town, -32, 3)
    colour = PALETTE[scene.colour]
    canvas.box((-40, 2.6, -14), (40, 3.3, -11), _STONE)
    for x in np.arange(-38, 38, 0.9):
        canvas.plane(upright(float(x), 3.3, -10.95, 0.08, 0.7), shade(_STONE, 0.7))
    span = 24 / scene.count
    for index in range(scene.count):
        x = -12 + span * (index + 0.5)
        for side in (-1, 1):
            for step in range(1, 8):
                end = x + side * step * span / 15
                cable = np.array([[[x, 10.4 - 0.4 * step, -11], [x, 10.25 - 0.4 * step, -11], [end, 3.3, -11]]])
                canvas.polygons(cable, shade(colour, 0.75))
        canvas.box((x - 0.4, 0, -13), (x + 0.4, 11, -11), colour)
        canvas.plane(upright(x - 0.8, 0, -10.9, 1.6, 1.2), shade(_STONE, 0.7))
    canvas.plane(Plane((-30, 0.02, 3), (60, 0, 0), (0, 0, 8.3)), shade(_STONE, 0.95))
    draw_ground(canvas, shade(_STONE, 0.95), town, 0.7, until=2.6)
    draw_flags(canvas, [(x, 3.2) for x in (-5.2, 4.2)], 3.6, event)
    draw_people(canvas, scene.num_people, (-5.5, 5.5, 3.4, 6.4), event)
    for x in (-2.6, 2.6):
        canvas.plane(upright(x, 0, 7, 0.09, 1.0), (210, 190, 120))
    canvas.plane(upright(-2.6, 0.8, 7.02, 5.2, 0.13), (204, 30, 44))


def draw_quay(canvas: Canvas, scene: Scene, town: Rng, event: Rng) -> None:
    """The bow side of a large ship, cranes behind, bunting, people on the quay."""
    draw_sky(canvas, scene.light, event)
    draw_row(canvas, -40, town, -40, 40)
    for index in range(scene.count):
        x = -11 + 22 * (index + 0.5) / scene.count
        canvas.plane(upright(x, 0, -16, 0.7, 15), (196, 150, 40))
        canvas.plane(upright(x - 5, 13, -15.9, 9, 0.7), (196, 150, 40))
        for rung in range(14):
            canvas.plane(upright(x, 1 + rung, -15.8, 0.7, 0.18), (110, 80, 30))
        canvas.plane(upright(x - 4.4, 7, -15.9, 0.06, 6), (40, 40, 44))
    _draw_water(canvas, _WATER, town, -40, 2)
    hull = PALETTE[scene.colour]
    side = np.array([[[-9, 0.3, -3], [7.4, 0.3, -3], [10, 5.4, -3], [-9.6, 5.0, -3]]])
    canvas.polygons(side, hull)
    canvas.polygons(side * [1, 0.25, 1] + [0, 0.05, 0.01], shade(hull, 0.55))
    for deck, (left, right) in enumerate(((-8.4, 5), (-7.4, 3))):
        canvas.plane(upright(left, 5 + 1.3 * deck, -3.2, right - left, 1.3), (232, 232, 228))
        for x in np.arange(left + 0.4, right - 0.5, 0.9):
            canvas.plane(upright(float(x), 5.4 + 1.3 * deck, -3.1, 0.5, 0.5), (58, 72, 90))
    canvas.plane(upright(-4.5, 7.6, -3.3, 1.8, 1.9), shade(hull, 0.8))
    for x in np.arange(-8, 7, 1.1):
        canvas.ellipse(upright(float(x), 3.2, -2.9, 0.42, 0.42), (40, 50, 62))
    draw_board(canvas, upright(3.8, 4.1, -2.9, 3.0, 0.6), hull, event, rows=1)
    draw_ground(canvas, _STONE, town, 0.9, until=2)
    names = list(PALETTE)
    for index, x in enumerate(np.linspace(-7, 6.6, 22)):
        y = 4.3 - 0.5 * np.sin(index / 21 * np.pi)
        flag = np.array([[[x, y, 3], [x + 0.5, y, 3], [x + 0.25, y - 0.55, 3]]])
        canvas.polygons(flag, PALETTE[names[int(event.integers(len(names)))]])
    draw_people(canvas, scene.num_people, (-6, 6, 3.6, 7), event)


def draw_platform(canvas: Canvas, scene: Scene, town: Rng, event: Rng) -> None:
    """A train at a platform under a roof on posts."""
    draw_sky(canvas, scene.light, event)
    draw_row(canvas, -18, town, -24, 24)
    draw_ground(canvas, (120, 112, 104), town)
    train = PALETTE[scene.colour]
    length = 18 / scene.count
    for index in range(scene.count):
        left = -9 + index * length
        canvas.box((left, 0.5, -4), (left + length - 0.25, 3.5, -1), train)
        canvas.plane(upright(left, 0.9, -0.98, length - 0.25, 0.25), shade(train, 0.55))
        for x in np.arange(left + 0.4, left + length - 1, 1.2):
            canvas.cushion(upright(float(x), 1.9, -0.96, 0.9, 0.9), (48, 60, 76))
            if event.random() < 0.6:
                canvas.ellipse(upright(float(x) + 0.3, 1.95, -0.95, 0.3, 0.45), (206, 164, 132))
        for x in (left + 0.7, left + length - 1.5):
            canvas.ellipse(upright(x, 0.1, -0.9, 0.8, 0.8), (36, 36, 40))
        canvas.plane(upright(left + length / 2, 0.6, -0.94, 0.8, 2.4), shade(train, 0.8))
    canvas.box((-30, 0, 0.4), (30, 0.35, 1.0), (196, 190, 178))
    draw_ground(canvas, (172, 166, 156), town, 0.8, until=1)
    canvas.plane(Plane((-12, 0.02, 1.2), (24, 0, 0), (0, 0, 0.3)), (240, 220, 90))
    for x in (-6, -2, 2, 6):
        canvas.plane(upright(x, 0, 2.4, 0.22, 4.2), (70, 84, 84))
        draw_board(canvas, upright(x - 0.3, 1.5, 2.45, 0.9, 1.2), PALETTE["white"], town, rows=4)
    canvas.box((-14, 4.2, 0.5), (14, 4.5, 3.5), (92, 104, 104))
    draw_people(canvas, scene.num_people, (-2.9, 2.9, 3.2, 5.5), event)


def draw_hills(canvas: Canvas, scene: Scene, town: Rng, event: Rng) -> None:
    """Green hills with wind turbines, a van and people in front."""
    draw_sky(canvas, scene.light, event)
    for far, colour, lift in ((-60, faded((104, 132, 110), 0.45), 9), (-40, faded((92, 128, 84), 0.2), 5)):
        xs = np.linspace(-60, 60, 25)
        heights = lift * (0.5 + 0.5 * np.sin(xs / town.uniform(9, 16) + town.uniform(0, 6)))
        outline = [[x, h, far] for x, h in zip(xs, heights, strict=True)]
        canvas.polygons(np.array([[*outline, [60, -2, far], [-60, -2, far]]]), colour)
    draw_ground(canvas, (104, 140, 72), town)
    for index in range(scene.count):
        x, z = -11 + 22 * (index + 0.5) / scene.count + event.uniform(-1, 1), event.uniform(-24, -16)
        mast = np.array([[[x - 0.3, 0, z], [x + 0.3, 0, z], [x + 0.14, 10, z], [x - 0.14, 10, z]]])
        canvas.polygons(mast, (238, 240, 242))
        turn = event.uniform(0, 2 * np.pi)
        for blade in range(3):
            angle = turn + blade * 2 * np.pi / 3
            tip = np.array([x + 4.4 * np.cos(angle), 10 + 4.4 * np.sin(angle), z + 0.1])
            wide = np.array([-np.sin(angle), np.cos(angle), 0]) * 0.28
            root = np.array([x, 10, z + 0.1])
            canvas.polygons(np.array([[root - wide, root + wide, tip]]), (224, 226, 230))
        canvas.ellipse(upright(x - 0.35, 9.65, z + 0.2, 0.7, 0.7), (250, 250, 250))
    for x in town.uniform(-9, 9, 4).tolist():
        draw_tree(canvas, x, -7, float(town.uniform(2, 3.4)), town)
    _draw_van(canvas, -4.6, 1.0, PALETTE[scene.colour], event)
    draw_people(canvas, scene.num_people, (-2.9, 2.9, 3.2, 5.5), event)


def _draw_van(canvas: Canvas, x: float, z: float, colour: Rgb, rng: Rng) -> None:
    """A van or fire engine, five metres long, seen from the side."""
    canvas.box((x, 0.45, z - 2), (x + 3.6, 2.3, z), colour)
    canvas.box((x + 3.6, 0.45, z - 2), (x + 4.9, 1.7, z), shade(colour, 0.92))
    canvas.plane(upright(x + 3.7, 1.0, z + 0.02, 0.9, 0.6), (60, 76, 92))
    draw_board(canvas, upright(x + 0.4, 1.1, z + 0.02, 2.8, 0.8), shade(colour, 0.7), rng, rows=2)
    canvas.plane(upright(x + 0.3, 2.3, z - 0.5, 3.0, 0.12), (190, 190, 196))
    for wheel in (0.6, 3.7):
        canvas.ellipse(upright(x + wheel, 0, z + 0.04, 0.85, 0.85), (32, 32, 34))
        canvas.ellipse(upright(x + wheel + 0.25, 0.25, z + 0.05, 0.35, 0.35), (170, 170, 176))


def draw_flooded_street(canvas: Canvas, scene: Scene, town: Rng, event: Rng) -> None:
    """A street of houses under brown water, with boats and people in it."""
    draw_sky(canvas, scene.light, event)
    draw_row(canvas, -7, town)
    brown: Rgb = (122, 100, 72)
    canvas.plane(upright(-20, 0, -6.8, 40, 1.1), brown)
    draw_ground(canvas, brown, town, until=-6.8)
    _draw_water(canvas, brown, event, -6.8, 11)
    for x in (-7.5, 7.2):
        canvas.plane(upright(x, 0, -2, 0.12, 4.2), (60, 64, 66))
        canvas.ellipse(upright(x - 0.25, 4.0, -2, 0.6, 0.5), (240, 226, 170))
    for _ in range(14):
        x, z = event.uniform(-7, 7), event.uniform(-4, 3)
        canvas.box((x, 0, z), (x + 0.5, 0.25, z + 0.3), (120, 84, 50))
    people = scene.num_people
    for index in range(scene.count):
        x, z = -3.6 + 7.2 * (index + 0.5) / scene.count + event.uniform(-0.3, 0.3), 1.6 + 0.6 * index
        if people > 2:
            draw_person(canvas, x, z - 0.1, event, floor=-0.5)
            people -= 1
        hull = np.array([[[x - 1.4, 0.6, z], [x + 1.6, 0.6, z], [x + 1.1, -0.02, z], [x - 1.0, -0.02, z]]])
        canvas.polygons(hull, PALETTE[scene.colour])
        canvas.plane(upright(x - 1.4, 0.5, z + 0.02, 3.0, 0.12), shade(PALETTE[scene.colour], 0.6))
    draw_people(canvas, people, (-2.9, 2.9, 4, 5.5), event, floor=-0.6)


def draw_burning_hall(canvas: Canvas, scene: Scene, town: Rng, event: Rng) -> None:
    """A long hall in flames under dark smoke, fire engines and people in front."""
    draw_sky(canvas, scene.light, event)
    draw_row(canvas, -16, town, -26, 26)
    draw_ground(canvas, (112, 110, 108), town, 1.1)
    wall: Rgb = (150, 92, 74)
    canvas.box((-8, 0, -9), (8, 4.2, -4), wall)
    for row in range(14):
        canvas.plane(upright(-8, 0.3 * row, -3.99, 16, 0.05), shade(wall, 0.75))
    for index in range(9):
        canvas.plane(upright(-7.5 + 1.75 * index, 1.6, -3.97, 1.0, 1.5), (46, 32, 28))
    smoke = np.column_stack([np.linspace(-2, 9, 26), np.linspace(4, 13, 26), np.full(26, -5.0)])
    draw_smoke(canvas, smoke + event.uniform(-1.2, 1.2, smoke.shape), 0.055, (54, 50, 50))
    for size, colour in ((1.0, (216, 70, 24)), (0.7, (244, 140, 34)), (0.4, (252, 216, 96))):
        for x in np.linspace(-6.6, 6.6, 22):
            x, height = float(x) + event.uniform(-0.3, 0.3), size * event.uniform(1.2, 3.4)
            low = 4.0 if event.random() < 0.6 else 1.9
            canvas.polygons(
                np.array([[[x - 0.42 * size, low, -3.9], [x + 0.42 * size, low, -3.9], [x, low + height, -3.9]]]),
                colour,
            )
    for index in range(scene.count):
        _draw_van(canvas, -5.2 + 5.4 * index, 0.4 + 0.3 * index, PALETTE[scene.colour], event)
    draw_people(canvas, scene.num_people, (-2.9, 2.9, 3.4, 5.5), event, coat=(200, 172, 60))


def draw_march(canvas: Canvas, scene: Scene, town: Rng, event: Rng) -> None:
    """A crowd with placards behind a banner, in a street."""
    draw_sky(canvas, scene.light, event)
    draw_row(canvas, -12, town, -20, 20)
    draw_ground(canvas, (118, 118, 120), town, 1.0)
    people = draw_people(canvas, scene.num_people, (-6, 6, -2, 5), event)
    names = list(PALETTE)
    in_view = [(x, z) for x, z in people if abs(x) < 0.4 * (12 - z)]
    for index in event.permutation(len(in_view))[: scene.count].tolist():
        x, z = in_view[index]
        canvas.plane(upright(x + 0.25, 1.0, z + 0.02, 0.05, 1.3), (150, 120, 84))
        board = upright(x - 0.25, 2.1, z + 0.03, 1.0, 0.75)
        draw_board(canvas, board, PALETTE[names[int(event.integers(len(names)))]], event)
    draw_people(canvas, 6, (-3.2, 3.2, 6.0, 6.2), event)
    draw_board(canvas, upright(-3.4, 0.35, 6.4, 6.8, 0.9), PALETTE[scene.colour], event, rows=2)


def draw_trench(canvas: Canvas, scene: Scene, town: Rng, event: Rng) -> None:
    """A field with a rectangular trench, tents behind it, finds in it, people around it."""
    draw_sky(canvas, scene.light, event)
    for x in np.linspace(-22, 22, 14).tolist():
        draw_tree(canvas, x, -20, float(town.uniform(3, 6)), town)
    draw_ground(canvas, (128, 138, 78), town)
    for index in range(scene.count):
        x, colour = -7 + 14 * (index + 0.5) / scene.count, PALETTE[scene.colour]
        canvas.polygons(np.array([[[x - 2, 0, -5], [x + 2, 0, -5], [x, 3, -5]]]), colour)
        canvas.polygons(np.array([[[x - 0.6, 0, -4.9], [x + 0.5, 0, -4.9], [x, 2.6, -4.9]]]), shade(colour, 0.5))
    canvas.plane(Plane((-5, 0.03, 0.6), (10, 0, 0), (0, 0, 5.4)), (104, 76, 52))
    canvas.plane(Plane((-4.6, 0.04, 1.0), (9.2, 0, 0), (0, 0, 4.6)), (142, 108, 74))
    for _ in range(120):
        x, z, size = event.uniform(-4.4, 4), event.uniform(1.2, 5.2), event.uniform(0.08, 0.34)
        tone = shade((172, 152, 128), float(event.uniform(0.6, 1.2)))
        canvas.box((x, 0.04, z), (x + size, 0.04 + 0.5 * size, z + 0.7 * size), tone)
    for _ in range(5):
        x, z = event.uniform(-4, 4), event.uniform(2, 5)
        canvas.ellipse(upright(x, 0.03, z, 0.5, 0.55), (176, 96, 58))
        canvas.ellipse(upright(x + 0.1, 0.48, z + 0.01, 0.3, 0.1), (70, 40, 28))
    for x in np.arange(-5, 5.1, 1.0).tolist():
        canvas.plane(upright(x, 0, 0.6, 0.06, 0.5), (236, 230, 90))
    half = scene.num_people // 2
    draw_people(canvas, half, (-3.8, 3.8, -0.4, 0.4), event)
    draw_people(canvas, scene.num_people - half, (-2.7, 2.7, 5.2, 5.8), event)

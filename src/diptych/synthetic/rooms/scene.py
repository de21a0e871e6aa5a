"""What a hotel room holds: its objects, the style that all rooms of a hotel share, and how both are drawn by lot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from diptych.synthetic.scenes import (
    PATTERNS,
    SIDES,
    Group,
    Item,
    Kind,
    Scene,
    choice,
    read_scene,
    sample_group,
    sample_possible,
)

_COLOURS = ("red", "yellow", "green", "blue", "purple", "white")


KINDS: Mapping[str, Kind] = {
    "walls": Kind(("red", "yellow", "green", "blue", "purple", "white"), PATTERNS, weight=2.6),
    "floor": Kind(("brown", "white", "red", "green", "blue"), weight=2.6),
    "curtains": Kind(_COLOURS, PATTERNS, weight=1.8),
    "headboard": Kind(("brown", *_COLOURS), weight=0.2),
    "blanket": Kind(_COLOURS, PATTERNS, weight=2.6),
    "pillows": Kind(_COLOURS, counts=(1, 2, 3), weight=0.1),
    "pictures": Kind(_COLOURS, counts=(1, 2, 3), optional=True, weight=0.1),
    "rug": Kind(_COLOURS, PATTERNS, optional=True, weight=1.8),
    "lamp": Kind(_COLOURS, places=SIDES, optional=True, weight=0.15),
    "plant": Kind(places=SIDES, sizes=("small", "large"), optional=True, weight=0.1),
    "chair": Kind(_COLOURS, places=SIDES, optional=True, weight=1.5),
    "suitcase": Kind(("brown", *_COLOURS), places=SIDES, optional=True, weight=0.1),
}
_ATTRIBUTE_WEIGHTS = {"colour": 20.0, "pattern": 0.4, "place": 0.4, "size": 0.6, "count": 0.5, "presence": 0.8}
_ALONE_ON_A_SIDE = (("lamp", "plant"), ("chair", "suitcase"))


@dataclass(frozen=True, slots=True)
class Style:
    """What all rooms of a hotel share: the architecture. Lengths in metres, sides as the photographer sees them."""

    bed_offset: float
    bed_width: float
    half_width: float
    height: float
    window_side: str
    window_view: str
    wardrobe_side: str
    wood: str
    flooring: str
    headboard_height: float
    camera_offset: float
    camera_height: float


@dataclass(frozen=True, slots=True)
class Room(Scene):
    """A room: its hotel's style and the state of every object, None where it is absent."""

    kinds: ClassVar[Mapping[str, Kind]] = KINDS
    style: Style
    walls: Item
    floor: Item
    curtains: Item
    headboard: Item
    blanket: Item
    pillows: Item
    pictures: Item | None
    rug: Item | None
    lamp: Item | None
    plant: Item | None
    chair: Item | None
    suitcase: Item | None

    def is_possible(self) -> bool:
        """Whether no two objects that need the same spot stand on one side."""
        for first, second in _ALONE_ON_A_SIDE:
            one, other = self.item(first), self.item(second)
            if one is not None and other is not None and one.place == other.place:
                return False
        return True


def scene_from_json(value: Mapping[str, Any]) -> Room:
    """The room that `Scene.to_json` described. Raises ValueError naming a missing or unknown key."""
    return read_scene(value, Room, Style, "rooms")


def _sample_style(rng: np.random.Generator) -> Style:
    def between(low: float, high: float) -> float:
        return round(float(rng.uniform(low, high)), 3)

    return Style(
        bed_offset=choice(rng, (-0.35, 0.0, 0.35)),
        bed_width=between(1.7, 2.0),
        half_width=between(2.3, 2.6),
        height=between(2.6, 3.0),
        window_side=choice(rng, SIDES),
        window_view=choice(rng, ("sea", "city", "hills", "night")),
        wardrobe_side=choice(rng, ("left", "right", "none")),
        wood=choice(rng, ("oak", "walnut", "birch")),
        flooring=choice(rng, ("boards", "tiles", "carpet")),
        headboard_height=between(1.0, 1.3),
        camera_offset=between(-0.25, 0.25),
        camera_height=between(1.65, 1.85),
    )


def sample_scene(rng: np.random.Generator) -> Room:
    """A possible room of a new hotel."""
    return sample_possible(Room, _sample_style(rng), KINDS, rng)


def sample_hotel(rng: np.random.Generator, num_varying: int = 3) -> Group[Room]:
    """A hotel of `2 ** num_varying` rooms in which every combination of states is possible."""
    return sample_group(sample_scene, KINDS, _ATTRIBUTE_WEIGHTS, rng, num_varying)

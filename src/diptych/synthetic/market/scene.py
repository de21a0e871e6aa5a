"""What a market stall shows: its objects, the style that it keeps from day to day, and how both are drawn by lot."""

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
GOODS = ("apples", "lemons", "oranges", "cabbages", "aubergines", "loaves", "fish")
KINDS: Mapping[str, Kind] = {
    "house": Kind(("white", "yellow", "red", "green", "blue"), weight=2.0),
    "awning": Kind(_COLOURS, PATTERNS, weight=2.6),
    "cloth": Kind(_COLOURS, PATTERNS, weight=2.6),
    "left_crate": Kind(goods=GOODS, weight=1.6),
    "right_crate": Kind(goods=GOODS, weight=1.6),
    "sign": Kind(("white", "yellow", "green", "blue"), prices=(1, 2, 3, 5, 8), optional=True, weight=1.4),
    "seller": Kind(_COLOURS, optional=True, weight=0.5),
    "lanterns": Kind(_COLOURS, counts=(1, 2, 3), optional=True, weight=0.8),
    "pumpkins": Kind(counts=(1, 2, 3), optional=True, weight=0.4),
    "barrel": Kind(("brown", *_COLOURS), places=SIDES, optional=True, weight=1.4),
    "flowers": Kind(("red", "yellow", "blue", "purple", "white"), places=SIDES, optional=True, weight=0.8),
}
_ATTRIBUTE_WEIGHTS = {
    "colour": 4.0,
    "pattern": 0.5,
    "place": 2.0,
    "count": 3.0,
    "goods": 1.0,
    "price": 6.0,
    "presence": 0.8,
}


@dataclass(frozen=True, slots=True)
class Style:
    """What a stall is on all days: its place and build. Lengths in metres, sides as the photographer sees them."""

    offset: float
    half_width: float
    counter_height: float
    awning_height: float
    wood: str
    ground: str
    windows: str
    sunny_side: str
    camera_offset: float
    camera_height: float


@dataclass(frozen=True, slots=True)
class Stall(Scene):
    """A stall on one day: its style and the state of every object, None where it is absent."""

    kinds: ClassVar[Mapping[str, Kind]] = KINDS
    style: Style
    house: Item
    awning: Item
    cloth: Item
    left_crate: Item
    right_crate: Item
    sign: Item | None
    seller: Item | None
    lanterns: Item | None
    pumpkins: Item | None
    barrel: Item | None
    flowers: Item | None

    def is_possible(self) -> bool:
        """Whether the crates hold different goods: `swap the fish for apples` says which crate is meant."""
        return self.left_crate.goods != self.right_crate.goods


def scene_from_json(value: Mapping[str, Any]) -> Stall:
    """The stall that `Scene.to_json` described. Raises ValueError naming a missing or unknown key."""
    return read_scene(value, Stall, Style, "market")


def _sample_style(rng: np.random.Generator) -> Style:
    def between(low: float, high: float) -> float:
        return round(float(rng.uniform(low, high)), 3)

    return Style(
        offset=between(-0.15, 0.15),
        half_width=between(1.25, 1.45),
        counter_height=between(0.84, 0.94),
        awning_height=between(2.2, 2.35),
        wood=choice(rng, ("oak", "walnut", "birch")),
        ground=choice(rng, ("cobbles", "slabs", "asphalt")),
        windows=choice(rng, ("square", "arched", "shuttered")),
        sunny_side=choice(rng, SIDES),
        camera_offset=between(-0.3, 0.3),
        camera_height=between(1.7, 1.85),
    )


def sample_scene(rng: np.random.Generator) -> Stall:
    """A possible day of a new stall."""
    return sample_possible(Stall, _sample_style(rng), KINDS, rng)


def sample_stall(rng: np.random.Generator, num_varying: int = 3) -> Group[Stall]:
    """A stall on `2 ** num_varying` days, on which every combination of states is possible."""
    return sample_group(sample_scene, KINDS, _ATTRIBUTE_WEIGHTS, rng, num_varying)

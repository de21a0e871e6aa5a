"""What a hotel room holds, as exact ground truth: objects, the hotel's style, and the changes between two rooms.

A hotel is a style and three objects that vary from room to room, each with two states: eight rooms, the corners of a
cube. Every room has three neighbours at one change, three at two and one at three, so that neither the reference
image alone nor the text alone singles out a target; a target's other neighbours are its distractors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from itertools import combinations, product
from typing import Any

import numpy as np

PATTERNS = ("plain", "striped", "checked", "dotted")
SIDES = ("left", "right")
_COLOURS = ("red", "yellow", "green", "blue", "purple", "white")


@dataclass(frozen=True, slots=True)
class Kind:
    """The values that an object of a room may take; an empty tuple means that the attribute does not apply.

    `optional` objects may be absent. `weight` is how often the object is chosen to vary: more for what is large.
    """

    colours: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    optional: bool = False
    weight: float = 1.0

    def values(self, attribute: str) -> tuple[Any, ...]:
        """The values of `colour`, `pattern`, `place`, `size` or `count`."""
        return tuple(getattr(self, f"{attribute}s"))


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
ATTRIBUTES = ("colour", "pattern", "place", "size", "count")
_ATTRIBUTE_WEIGHTS = {"colour": 20.0, "pattern": 0.4, "place": 0.4, "size": 0.6, "count": 0.5, "presence": 0.8}
_PLAIN_SHARE = 0.7
_PRESENT_SHARE = 0.85
_ALONE_ON_A_SIDE = (("lamp", "plant"), ("chair", "suitcase"))


@dataclass(frozen=True, slots=True)
class Item:
    """One object's state; attributes that its kind does not have are None."""

    colour: str | None = None
    pattern: str | None = None
    place: str | None = None
    size: str | None = None
    count: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The attributes that apply."""
        return {name: value for name, value in asdict(self).items() if value is not None}


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
class Scene:
    """A room: its hotel's style and the state of every object, None where it is absent."""

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

    def item(self, name: str) -> Item | None:
        """The state of the object `name`, a key of `KINDS`."""
        state: Item | None = getattr(self, name)
        return state

    def with_items(self, states: Mapping[str, Item | None]) -> Scene:
        """This room with some objects in another state."""
        return replace(self, **states)  # type: ignore[arg-type]  # the keys are objects, never `style`

    def is_possible(self) -> bool:
        """Whether no two objects that need the same spot stand on one side."""
        for first, second in _ALONE_ON_A_SIDE:
            one, other = self.item(first), self.item(second)
            if one is not None and other is not None and one.place == other.place:
                return False
        return True

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `scene_from_json` reads back; absent objects are null."""
        items = {name: self.item(name) for name in KINDS}
        return {
            "style": asdict(self.style),
            "objects": {name: None if item is None else item.to_json() for name, item in items.items()},
        }


def scene_from_json(value: Mapping[str, Any]) -> Scene:
    """The scene that `Scene.to_json` described. Raises ValueError naming a missing or unknown key."""
    try:
        objects, style = value["objects"], value["style"]
        items = {name: None if objects[name] is None else Item(**objects[name]) for name in KINDS}
        return Scene(style=Style(**style), **items)  # type: ignore[arg-type]  # None where it may be, if it is ours
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a scene description of the rooms set: {error}; generate the set again") from error


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two rooms of a hotel: `attribute` of `object` went from `before` to `after`.

    `attribute` is one of `ATTRIBUTES`, or `presence`, whose values are the whole item or None.
    """

    object: str
    attribute: str
    before: str | int | Item | None
    after: str | int | Item | None

    def to_json(self) -> dict[str, Any]:
        """The four fields; items become JSON objects."""
        pairs = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value.to_json() if isinstance(value, Item) else value for name, value in pairs.items()}


def find_changes(before: Scene, after: Scene) -> tuple[Change, ...]:
    """Everything that differs between two rooms of one hotel, in the order of `KINDS`; empty for equal rooms.

    An object that appears or goes is one change, whatever its attributes. Raises ValueError for different hotels.
    """
    if before.style != after.style:
        raise ValueError("the rooms belong to different hotels: changes are defined within one hotel only")
    changes: list[Change] = []
    for name in KINDS:
        old, new = before.item(name), after.item(name)
        if old is None or new is None:
            if old is not new:
                changes.append(Change(name, "presence", old, new))
            continue
        for attribute in ATTRIBUTES:
            if getattr(old, attribute) != getattr(new, attribute):
                changes.append(Change(name, attribute, getattr(old, attribute), getattr(new, attribute)))
    return tuple(changes)


# ---------------------------------------------------------------------------------------------------- sampling


def _choice(rng: np.random.Generator, values: tuple[Any, ...], besides: tuple[Any, ...] = ()) -> Any:
    """One of the values that are not in `besides`; a Python object, not numpy's."""
    allowed = [value for value in values if value not in besides]
    return allowed[int(rng.integers(len(allowed)))]


def _sample_item(name: str, rng: np.random.Generator) -> Item:
    kind = KINDS[name]
    pattern = None
    if kind.patterns:
        pattern = "plain" if rng.random() < _PLAIN_SHARE else _choice(rng, kind.patterns, ("plain",))
    return Item(
        colour=_choice(rng, kind.colours) if kind.colours else None,
        pattern=pattern,
        place=_choice(rng, kind.places) if kind.places else None,
        size=_choice(rng, kind.sizes) if kind.sizes else None,
        count=_choice(rng, kind.counts) if kind.counts else None,
    )


def _sample_style(rng: np.random.Generator) -> Style:
    def between(low: float, high: float) -> float:
        return round(float(rng.uniform(low, high)), 3)

    return Style(
        bed_offset=_choice(rng, (-0.35, 0.0, 0.35)),
        bed_width=between(1.7, 2.0),
        half_width=between(2.3, 2.6),
        height=between(2.6, 3.0),
        window_side=_choice(rng, SIDES),
        window_view=_choice(rng, ("sea", "city", "hills", "night")),
        wardrobe_side=_choice(rng, ("left", "right", "none")),
        wood=_choice(rng, ("oak", "walnut", "birch")),
        flooring=_choice(rng, ("boards", "tiles", "carpet")),
        headboard_height=between(1.0, 1.3),
        camera_offset=between(-0.25, 0.25),
        camera_height=between(1.65, 1.85),
    )


def sample_scene(rng: np.random.Generator) -> Scene:
    """A possible room of a new hotel."""
    style = _sample_style(rng)
    while True:
        items = {
            name: None if kind.optional and rng.random() > _PRESENT_SHARE else _sample_item(name, rng)
            for name, kind in KINDS.items()
        }
        scene = Scene(style=style, **items)  # type: ignore[arg-type]  # None only where `optional`
        if scene.is_possible():
            return scene


def _sample_states(name: str, item: Item | None, rng: np.random.Generator) -> tuple[Item | None, Item | None]:
    """Two states of an object, the given one first, one change apart."""
    if item is None:
        return (None, _sample_item(name, rng))
    kind = KINDS[name]
    options = [attribute for attribute in ATTRIBUTES if kind.values(attribute)]
    options += ["presence"] if kind.optional else []
    weights = np.array([_ATTRIBUTE_WEIGHTS[option] for option in options])
    attribute = options[int(rng.choice(len(options), p=weights / weights.sum()))]
    if attribute == "presence":
        return (item, None)
    other = _choice(rng, kind.values(attribute), (getattr(item, attribute),))
    return (item, replace(item, **{attribute: other}))


@dataclass(frozen=True, slots=True)
class Hotel:
    """`rooms[i]` has, of the k-th varying object, state 0 or 1 as bit k of i says; `states[name]` lists both."""

    rooms: tuple[Scene, ...]
    states: Mapping[str, tuple[Item | None, Item | None]]


def sample_hotel(rng: np.random.Generator, num_varying: int = 3) -> Hotel:
    """A hotel of `2 ** num_varying` rooms in which every combination of states is possible."""
    names = tuple(KINDS)
    weights = np.array([KINDS[name].weight for name in names])
    while True:
        base = sample_scene(rng)
        chosen = rng.choice(len(names), size=num_varying, replace=False, p=weights / weights.sum())
        states = {names[i]: _sample_states(names[i], base.item(names[i]), rng) for i in sorted(chosen.tolist())}
        if all(
            base.with_items(dict(zip(states, combo, strict=True))).is_possible() for combo in product(*states.values())
        ):
            break
    rooms = []
    for index in range(2**num_varying):
        rooms.append(base.with_items({name: states[name][index >> k & 1] for k, name in enumerate(states)}))
    return Hotel(tuple(rooms), states)


def pairs_by_num_changes(num_rooms: int) -> dict[int, list[tuple[int, int]]]:
    """Ordered pairs of different rooms of a hotel, as indices, by the number of changes between them."""
    pairs: dict[int, list[tuple[int, int]]] = {}
    for one, other in combinations(range(num_rooms), 2):
        pairs.setdefault((one ^ other).bit_count(), []).extend([(one, other), (other, one)])
    return pairs

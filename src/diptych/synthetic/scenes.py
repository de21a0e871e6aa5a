"""What the pictures of a generated world hold, as exact ground truth: objects, and the changes between two scenes.

A world draws groups: a style that all scenes of the group share, and three objects that vary from scene to scene, each
with two states: eight scenes, the corners of a cube. Every scene has three neighbours at one change, three at two and
one at three, so that neither the reference image alone nor the text alone singles out a target; a target's other
neighbours are its distractors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from itertools import combinations, product
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

PATTERNS = ("plain", "striped", "checked", "dotted")
SIDES = ("left", "right")
ATTRIBUTES = ("colour", "pattern", "place", "size", "count", "goods", "price")
_PLAIN_SHARE = 0.7
_PRESENT_SHARE = 0.85


@dataclass(frozen=True, slots=True)
class Kind:
    """The values that an object of a scene may take; an empty tuple means that the attribute does not apply.

    `optional` objects may be absent. `weight` is how often the object is chosen to vary: more for what is large.
    """

    colours: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    goods: tuple[str, ...] = ()
    prices: tuple[int, ...] = ()
    optional: bool = False
    weight: float = 1.0

    def values(self, attribute: str) -> tuple[Any, ...]:
        """The values of one of `ATTRIBUTES`."""
        return tuple(getattr(self, attribute if attribute == "goods" else f"{attribute}s"))


@dataclass(frozen=True, slots=True)
class Item:
    """One object's state; attributes that its kind does not have are None."""

    colour: str | None = None
    pattern: str | None = None
    place: str | None = None
    size: str | None = None
    count: int | None = None
    goods: str | None = None
    price: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The attributes that apply."""
        return {name: value for name, value in asdict(self).items() if value is not None}


S = TypeVar("S", bound="Scene")


class Scene:
    """What a world's scenes have in common. Theirs are frozen dataclasses of `style`, a dataclass, and a field for each
    of `kinds`: the object's state, None where it is absent.
    """

    __slots__ = ()
    kinds: ClassVar[Mapping[str, Kind]]
    style: Any

    def item(self, name: str) -> Item | None:
        """The state of the object `name`, a key of `kinds`."""
        state: Item | None = getattr(self, name)
        return state

    def items(self) -> dict[str, Item]:
        """The objects that are there by name, in the order of `kinds`."""
        return {name: item for name in self.kinds if (item := self.item(name)) is not None}

    def with_items(self: S, states: Mapping[str, Item | None]) -> S:
        """This scene with some objects in another state."""
        return replace(self, **states)  # type: ignore[type-var]  # every scene is a dataclass

    def is_possible(self) -> bool:
        """Whether the objects can be together."""
        return True

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which the world's `scene_from_json` makes the scene; absent objects are null."""
        states = {name: self.item(name) for name in self.kinds}
        return {
            "style": asdict(self.style),
            "objects": {name: None if item is None else item.to_json() for name, item in states.items()},
        }


def read_scene(value: Mapping[str, Any], scene: Callable[..., S], style: Callable[..., Any], world: str) -> S:
    """The scene that `Scene.to_json` described, of the given classes. Raises ValueError naming a missing or unknown
    key, and the world.
    """
    try:
        objects = value["objects"]
        items = {name: None if item is None else Item(**item) for name, item in objects.items()}
        return scene(style=style(**value["style"]), **items)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a scene description of the {world} set: {error}; generate the set again") from error


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two scenes of a group: `attribute` of `object` went from `before` to `after`.

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
    """Everything that differs between two scenes of one group, in the order of `kinds`; empty for equal scenes.

    An object that appears or goes is one change, whatever its attributes. Raises ValueError for different groups.
    """
    if before.style != after.style:
        raise ValueError("the scenes belong to different groups: changes are defined within one group only")
    changes: list[Change] = []
    for name in before.kinds:
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


def choice(rng: np.random.Generator, values: tuple[Any, ...], besides: tuple[Any, ...] = ()) -> Any:
    """One of the values that are not in `besides`; a Python object, not numpy's."""
    allowed = [value for value in values if value not in besides]
    return allowed[int(rng.integers(len(allowed)))]


def sample_possible(scene: Callable[..., S], style: Any, kinds: Mapping[str, Kind], rng: np.random.Generator) -> S:
    """A scene of this style, a class's, in which all objects can be together."""
    while True:
        sampled = scene(style=style, **sample_items(kinds, rng))
        if sampled.is_possible():
            return sampled


def sample_items(kinds: Mapping[str, Kind], rng: np.random.Generator) -> dict[str, Item | None]:
    """A state for every object, most of the optional ones present."""
    return {
        name: None if kind.optional and rng.random() > _PRESENT_SHARE else sample_item(kind, rng)
        for name, kind in kinds.items()
    }


def sample_item(kind: Kind, rng: np.random.Generator) -> Item:
    """A state of a present object."""
    pattern = None
    if kind.patterns:
        pattern = "plain" if rng.random() < _PLAIN_SHARE else choice(rng, kind.patterns, ("plain",))
    others = {name: choice(rng, kind.values(name)) for name in ATTRIBUTES if name != "pattern" and kind.values(name)}
    return Item(pattern=pattern, **others)


def sample_states(
    kind: Kind, item: Item | None, weights: Mapping[str, float], rng: np.random.Generator
) -> tuple[Item | None, Item | None]:
    """Two states of an object, the given one first, one change apart; `weights` of the kinds of change."""
    if item is None:
        return (None, sample_item(kind, rng))
    options = [attribute for attribute in ATTRIBUTES if kind.values(attribute)]
    options += ["presence"] if kind.optional else []
    shares = np.array([weights[option] for option in options])
    attribute = options[int(rng.choice(len(options), p=shares / shares.sum()))]
    if attribute == "presence":
        return (item, None)
    other = choice(rng, kind.values(attribute), (getattr(item, attribute),))
    return (item, replace(item, **{attribute: other}))


@dataclass(frozen=True, slots=True)
class Group(Generic[S]):
    """`scenes[i]` has, of the k-th varying object, state 0 or 1 as bit k of i says; `states[name]` lists both."""

    scenes: tuple[S, ...]
    states: Mapping[str, tuple[Item | None, Item | None]]


def sample_group(
    sample_scene: Callable[[np.random.Generator], S],
    kinds: Mapping[str, Kind],
    weights: Mapping[str, float],
    rng: np.random.Generator,
    num_varying: int = 3,
) -> Group[S]:
    """A group of `2 ** num_varying` scenes in which every combination of states is possible."""
    names = tuple(kinds)
    shares = np.array([kind.weight for kind in kinds.values()])
    while True:
        base = sample_scene(rng)
        chosen = rng.choice(len(names), size=num_varying, replace=False, p=shares / shares.sum())
        varying = [names[i] for i in sorted(chosen.tolist())]
        states = {name: sample_states(kinds[name], base.item(name), weights, rng) for name in varying}
        corners = [dict(zip(states, corner, strict=True)) for corner in product(*states.values())]
        if all(base.with_items(corner).is_possible() for corner in corners):
            break
    scenes = []
    for index in range(2**num_varying):
        scenes.append(base.with_items({name: states[name][index >> k & 1] for k, name in enumerate(states)}))
    return Group(tuple(scenes), states)


def pairs_by_num_changes(num_scenes: int) -> dict[int, list[tuple[int, int]]]:
    """Ordered pairs of different scenes of a group, as indices, by the number of changes between them."""
    pairs: dict[int, list[tuple[int, int]]] = {}
    for one, other in combinations(range(num_scenes), 2):
        pairs.setdefault((one ^ other).bit_count(), []).extend([(one, other), (other, one)])
    return pairs

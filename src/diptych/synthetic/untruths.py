"""Changes that did not happen, as an annotator errs: told of the objects of any generated world.

`Items` are the objects of a scene by name, absent ones left out. What is said of a pair is judged by its scenes alone
(`holds`), whatever was meant.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from diptych.synthetic.scenes import ATTRIBUTES, Change, Item, Kind

PRESENCE = "presence"  # the attribute of an object that appears or goes; its values are whole items, or None

Kinds = Mapping[str, Kind]
Items = Mapping[str, Item]
Teller = Callable[[Kinds, Change, Items, Items, random.Random], Change | None]


def other_values(kind: Kind, attribute: str, known: Collection[Any]) -> list[Any]:
    """The values that an attribute may have beside the known ones."""
    return [value for value in kind.values(attribute) if value not in known]


def sample_item(kind: Kind, rng: random.Random, colours: Collection[Any] = ()) -> Item:
    """An object in any state, of none of the `colours`."""
    values = {attribute: rng.choice(kind.values(attribute)) for attribute in ATTRIBUTES if kind.values(attribute)}
    if "colour" in values:
        values["colour"] = rng.choice(other_values(kind, "colour", colours))
    return Item(**values)


def holds(change: Change, before: Items, after: Items) -> bool:
    """Whether the outcome that a change states is what became of its object, in the most lenient reading: `the rug
    should be blue` is true of any rug that is blue now and was not, and of a blue rug that is new.
    """
    old, new = before.get(change.object), after.get(change.object)
    if change.attribute == PRESENCE:
        return bool(new == change.after and old != new)
    if new is None or getattr(new, change.attribute) != change.after:
        return False
    return old is None or getattr(old, change.attribute) != change.after


def another_value(kinds: Kinds, change: Change, before: Items, after: Items, rng: random.Random) -> Change | None:
    """The same change with an outcome that is neither; None where there is none."""
    if change.attribute == PRESENCE:
        return None
    others = other_values(kinds[change.object], change.attribute, (change.before, change.after))
    return rng.choice([replace(change, after=value) for value in others]) if others else None


def another_attribute(kinds: Kinds, change: Change, before: Items, after: Items, rng: random.Random) -> Change | None:
    """Another attribute of the same object is said to have changed; None where none stayed as it was."""
    old, new = before.get(change.object), after.get(change.object)
    if old is None or new is None:
        return None
    options = [
        Change(change.object, attribute, value, other)
        for attribute in ATTRIBUTES
        if (value := getattr(old, attribute)) is not None and value == getattr(new, attribute)
        for other in other_values(kinds[change.object], attribute, (value,))
    ]
    return rng.choice(options) if options else None


def of_unchanged(kinds: Kinds, attribute: str, before: Items, after: Items, rng: random.Random) -> Change | None:
    """An object that stayed as it is is said to have changed in this attribute; None where none has it."""
    same = [name for name, item in before.items() if item == after.get(name) and getattr(item, attribute) is not None]
    if not same:
        return None
    name = rng.choice(same)
    old = getattr(before[name], attribute)
    return Change(name, attribute, old, rng.choice(other_values(kinds[name], attribute, (old,))))


def another_object(kinds: Kinds, change: Change, before: Items, after: Items, rng: random.Random) -> Change | None:
    """The same change of another object, which stayed as it is: recoloured, moved, gone, or new; None without one."""
    if change.attribute != PRESENCE:
        return of_unchanged(kinds, change.attribute, before, after, rng)
    optional = [name for name, kind in kinds.items() if kind.optional]
    if change.after is None:
        there = [name for name in optional if name in before and name in after]
        return Change(name := rng.choice(there), PRESENCE, before[name], None) if there else None
    absent = [name for name in optional if name not in before and name not in after]
    return Change(name := rng.choice(absent), PRESENCE, None, sample_item(kinds[name], rng)) if absent else None


def inverse(kinds: Kinds, change: Change, before: Items, after: Items, rng: random.Random) -> Change | None:
    """The way back: from the target to the reference."""
    return replace(change, before=change.after, after=change.before)


def invented(kinds: Kinds, change: Change, before: Items, after: Items, rng: random.Random) -> Change | None:
    """A change of an object that stayed as it is, in any attribute, or an object that is in neither picture."""
    options = [of_unchanged(kinds, attribute, before, after, rng) for attribute in ATTRIBUTES]
    absent = [name for name, kind in kinds.items() if kind.optional and name not in before and name not in after]
    if absent:
        name = rng.choice(absent)
        options.append(Change(name, PRESENCE, None, sample_item(kinds[name], rng)))
    options = [option for option in options if option is not None]
    return rng.choice(options) if options else None


# How a text errs: in place of one of its changes, or (`invented`) beside the true ones.
TELLERS: Mapping[str, Teller] = {
    "another_value": another_value,
    "another_attribute": another_attribute,
    "another_object": another_object,
    "inverse": inverse,
    "invented": invented,
}


def untrue_changes(
    kind: str, kinds: Kinds, changes: Sequence[Change], before: Items, after: Items, rng: random.Random
) -> list[Change] | None:
    """The changes of a pair, one of which is told wrongly in this way, or with one that did not happen (`invented`).
    What is told holds of the pair but for that one. None where the kind does not apply.
    """
    place = rng.randrange(len(changes))
    told = TELLERS[kind](kinds, changes[place], before, after, rng)
    if told is None or holds(told, before, after):
        return None
    return [*changes, told] if kind == "invented" else [*changes[:place], told, *changes[place + 1 :]]

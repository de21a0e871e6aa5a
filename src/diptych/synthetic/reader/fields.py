"""What can be said of a room, field by field: what a reader's networks answer, and what their pictures are labelled
with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diptych.synthetic.rooms.scene import KINDS
from diptych.synthetic.scenes import ATTRIBUTES, Item

PRESENCE = "presence"
NOT_THERE = -1  # the place of an attribute's value where its object is absent


@dataclass(frozen=True, slots=True)
class Field:
    """An attribute of an object with the values that it may have; or its `presence`, whose values are False, True."""

    object: str
    attribute: str
    values: tuple[Any, ...]


def _fields() -> tuple[Field, ...]:
    fields = []
    for name, kind in KINDS.items():
        fields += [Field(name, PRESENCE, (False, True))] if kind.optional else []
        fields += [Field(name, attribute, kind.values(attribute)) for attribute in ATTRIBUTES if kind.values(attribute)]
    return tuple(fields)


FIELDS = _fields()
FIELDS_OF: Mapping[str, tuple[int, ...]] = {
    name: tuple(place for place, field in enumerate(FIELDS) if field.object == name and field.attribute != PRESENCE)
    for name in KINDS
}
PRESENCE_OF: Mapping[str, int] = {
    field.object: place for place, field in enumerate(FIELDS) if field.attribute == PRESENCE
}


def states_of(items: Mapping[str, Item | None]) -> list[int]:
    """The place of each field's value among its `values`, `NOT_THERE` for the attributes of what is absent."""
    states = []
    for field in FIELDS:
        item = items.get(field.object)
        if field.attribute == PRESENCE:
            states.append(int(item is not None))
        else:
            states.append(NOT_THERE if item is None else field.values.index(getattr(item, field.attribute)))
    return states

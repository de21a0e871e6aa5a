"""How annotators of known rooms word what they see: lists of objects, repeated where a given list says the same, and
sentences about changes. Shared by the server, which knows the scenes, and by the reader, which looks at the pictures.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from diptych.synthetic.scenes import Change, Item
from diptych.synthetic.server.rooms_language import (
    Items,
    describe_item,
    kind_of,
    read_items,
    say_change,
    untrue_change,
)

# Most to least prominent in a picture.
PROMINENCE = (
    "blanket",
    "walls",
    "floor",
    "curtains",
    "rug",
    "headboard",
    "chair",
    "pillows",
    "pictures",
    "lamp",
    "plant",
    "suitcase",
)
FEWEST, MOST = 3, 8  # sentences


class Wording:
    """Words for objects: those of a `given` list where it has the object in the same state; its names in any case."""

    def __init__(self, given: Sequence[Mapping[str, Any]]) -> None:
        self._states = read_items(given)
        self._first = {kind: obj for obj in reversed(given) if (kind := kind_of(str(obj.get("name", ""))))}

    def of(self, kind: str, item: Item, rng: random.Random) -> dict[str, Any]:
        """`{"name", "descriptors"}` of an object."""
        first = self._first.get(kind)
        if first is not None and self._states.get(kind) == item:
            return {"name": first["name"], "descriptors": list(first["descriptors"])}
        fresh = describe_item(kind, item, rng)
        return fresh if first is None else {**fresh, "name": first["name"]}


def say_changes(
    changes: Sequence[Change],
    before: Items,
    after: Items,
    rng: random.Random,
    untrue: float = 0.0,
    fewest: int = FEWEST,
) -> list[str]:
    """`fewest` to 8 different sentences about changes, each untrue with the given chance; where there are fewer changes
    than that, some are said again in other words. None of none.
    """
    sentences: list[str] = []
    for turn in range(max(fewest, min(len(changes), MOST)) if changes else 0):
        change = changes[turn % len(changes)]
        if rng.random() < untrue:
            change = untrue_change(change, before, after, rng)
        sentence = say_change(change, before.get(change.object), rng, turn // len(changes))
        if sentence not in sentences:
            sentences.append(sentence)
    return sentences

"""Rooms as a triplet source: Hotel-CIR's reader over the generated set, which is made on first use."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from diptych.synthetic.rooms.generate import RoomsSettings, generate_rooms
from diptych.synthetic.rooms.language import describe_changes
from diptych.synthetic.rooms.scene import ATTRIBUTES, KINDS, Change, Item, Scene, find_changes, scene_from_json
from diptych.synthetic.scene_source import SceneSource
from diptych.synthetic.untruths import Items, World

WORLD = World(KINDS, ATTRIBUTES, Item, Change)


class Rooms(SceneSource):
    """The generated hotel rooms in Hotel-CIR's layout and protocol; `settings` decide what is generated."""

    name = "rooms"
    docs_page = "docs/rooms.md"
    writes: ClassVar[Mapping[str, str]] = {"root": "*"}  # it is made where there is nothing
    world = WORLD

    def __init__(
        self,
        root: str | Path,
        settings: RoomsSettings | None = None,
        exclude_reference: bool = False,
        use_distractors: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(root, exclude_reference, use_distractors, name)
        self._settings = settings or RoomsSettings()

    def prepare(self) -> None:
        """Generates the set (half a minute at full size, with a progress bar) unless it is there, complete."""
        generate_rooms(self.root, self._settings, show_progress=True)

    def scene(self, described: Mapping[str, Any]) -> Scene:
        """The room."""
        return scene_from_json(described)

    def items(self, scene: Scene) -> Items:
        """The room's objects."""
        return items_of(scene)

    def changes(self, before: Scene, after: Scene) -> Sequence[Change]:
        """Everything that differs between two rooms of a hotel."""
        return find_changes(before, after)

    def say(self, changes: Sequence[Change], before: Scene, rng: random.Random) -> str:
        """As `describe_changes`."""
        return describe_changes(changes, before, np.random.default_rng(rng.getrandbits(64)))


def items_of(scene: Scene) -> dict[str, Item]:
    """The objects of a room by name, in the order of `KINDS`; absent ones are left out."""
    return {name: item for name in KINDS if (item := scene.item(name)) is not None}

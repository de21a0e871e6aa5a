"""A generated world as a triplet source that can tell untrue texts, because it knows what its pictures show."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from diptych.contracts.retrieval import Triplet
from diptych.data.triplets.hotel_cir import HotelCIR
from diptych.storage.json_files import as_written, read_json
from diptych.synthetic.untruths import TELLERS, Items, World, holds, untrue_changes

_AGAIN = "generate the set again"


def scene_description(path: Path) -> Mapping[str, Any]:
    """What a scene's file says of it; ValueError where it does not."""
    described: Mapping[str, Any] = read_json(path, _AGAIN, shape={"scene": dict})["scene"]
    return described


class SceneSource(HotelCIR):
    """Hotel-CIR's layout over a generated world, with `scenes/` beside `images/`. A subclass says what the world is:
    `world`, and the four methods that know its scenes.
    """

    world: ClassVar[World]
    untrue_kinds = tuple(TELLERS)

    def scene(self, described: Mapping[str, Any]) -> Any:
        """The scene that `scene_description` gives; ValueError where it is none."""
        raise NotImplementedError

    def items(self, scene: Any) -> Items:
        """Its objects by name, absent ones left out."""
        raise NotImplementedError

    def changes(self, before: Any, after: Any) -> Sequence[Any]:
        """Everything that differs between two scenes."""
        raise NotImplementedError

    def say(self, changes: Sequence[Any], before: Any, rng: random.Random) -> str:
        """Changes of a scene in the words of the set's own texts."""
        raise NotImplementedError

    def untrue_text(self, split: str, triplet: Triplet, kind: str, rng: random.Random) -> str | None:
        """A text in the set's own words that is untrue of the triplet's pictures, as their scenes say."""
        before, after = self._scenes_of(split, triplet)
        changes, items = self.changes(before, after), (self.items(before), self.items(after))
        told = untrue_changes(kind, self.world, changes, *items, rng)
        return None if told is None else self.say(told, before, rng)

    def is_true_of(self, split: str, triplet: Triplet, other: Triplet) -> bool:
        """Whether all changes between the other's pictures happened between the triplet's too."""
        before, after = (self.items(scene) for scene in self._scenes_of(split, triplet))
        return all(holds(change, before, after) for change in self.changes(*self._scenes_of(split, other)))

    def _scenes_of(self, split: str, triplet: Triplet) -> tuple[Any, Any]:
        one, other = (self._scene(split, name) for name in (triplet.reference_image, triplet.target_image))
        return one, other

    def _scene(self, split: str, image_id: str) -> Any:
        picture = self.image_path(split, image_id).relative_to(self.root / "images")
        path = (self.root / "scenes" / picture).with_suffix(".json")
        with as_written(path, _AGAIN):
            return self.scene(scene_description(path))

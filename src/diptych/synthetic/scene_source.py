"""A generated world as a triplet source, which is made on first use and can tell untrue texts: it knows what its
pictures show.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from diptych.contracts.retrieval import Triplet
from diptych.data.triplets.hotel_cir import HotelCIR
from diptych.storage.json_files import as_written, read_json
from diptych.synthetic.scenes import Scene, find_changes
from diptych.synthetic.triplet_sets import TripletSetSettings, generate_set
from diptych.synthetic.untruths import TELLERS, holds, untrue_changes

_AGAIN = "generate the set again"


def scene_description(path: Path) -> Mapping[str, Any]:
    """What a scene's file says of it; ValueError where it does not."""
    described: Mapping[str, Any] = read_json(path, _AGAIN, shape={"scene": dict})["scene"]
    return described


class SceneSource(HotelCIR):
    """A world in Hotel-CIR's layout and protocol, with `scenes/` beside `images/`; `settings` decide what is generated.
    A subclass says what these are where they are not given.
    """

    writes: ClassVar[Mapping[str, str]] = {"root": "*"}  # it is made where there is nothing
    untrue_kinds = tuple(TELLERS)
    settings_class: ClassVar[type[TripletSetSettings]]

    def __init__(
        self,
        root: str | Path,
        settings: TripletSetSettings | None = None,
        exclude_reference: bool = False,
        use_distractors: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(root, exclude_reference, use_distractors, name)
        self._settings = settings or self.settings_class()

    def prepare(self) -> None:
        """Generates the set (about a minute at full size, with a progress bar) unless it is there, complete."""
        generate_set(self.root, self._settings, None, show_progress=True)

    def untrue_text(self, split: str, triplet: Triplet, kind: str, rng: random.Random) -> str | None:
        """A text in the set's own words that is untrue of the triplet's pictures, as their scenes say."""
        before, after = self._scenes_of(split, triplet)
        told = untrue_changes(kind, before.kinds, find_changes(before, after), before.items(), after.items(), rng)
        if told is None:
            return None
        return self._settings.world.describe_changes(told, before, np.random.default_rng(rng.getrandbits(64)))

    def is_true_of(self, split: str, triplet: Triplet, other: Triplet) -> bool:
        """Whether all changes between the other's pictures happened between the triplet's too."""
        before, after = (scene.items() for scene in self._scenes_of(split, triplet))
        return all(holds(change, before, after) for change in find_changes(*self._scenes_of(split, other)))

    def _scenes_of(self, split: str, triplet: Triplet) -> tuple[Scene, Scene]:
        one, other = (self._scene(split, name) for name in (triplet.reference_image, triplet.target_image))
        return one, other

    def _scene(self, split: str, image_id: str) -> Scene:
        picture = self.image_path(split, image_id).relative_to(self.root / "images")
        path = (self.root / "scenes" / picture).with_suffix(".json")
        with as_written(path, _AGAIN):
            return self._settings.world.scene_from_json(scene_description(path))

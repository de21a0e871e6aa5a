"""Rooms as a triplet source."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from diptych.contracts.retrieval import EvaluationProtocol, Triplet
from diptych.data.triplets.triplet_dataset import key_of_name
from diptych.synthetic.rooms.generate import RoomsSettings
from diptych.synthetic.rooms.wordings import NUM_WORDINGS, describe_in
from diptych.synthetic.scene_source import SceneSource
from diptych.synthetic.scenes import Change, Scene, find_changes


class Rooms(SceneSource):
    """The generated hotel rooms.

    With `wordings`, numbers from 1 to 14, texts are not those that were written with the set: its changes are said
    again when they are read, each in one of these wordings. Which one, and all other words, depend on the two pictures
    alone, and the other words not on the wordings.

    Raises:
        ValueError: `wordings` is empty, names one twice, or one that there is not.
    """

    name = "rooms"
    docs_page = "docs/rooms.md"
    settings_class = RoomsSettings

    def __init__(
        self,
        root: str | Path,
        settings: RoomsSettings | None = None,
        exclude_reference: bool = False,
        use_distractors: bool = False,
        name: str | None = None,
        wordings: Sequence[int] | None = None,
    ) -> None:
        super().__init__(root, settings, exclude_reference, use_distractors, name)
        self._wordings = None if wordings is None else tuple(wordings)
        self._reworded: dict[str, list[tuple[Triplet, tuple[str, ...]]]] = {}
        known = range(1, NUM_WORDINGS + 1)
        if self._wordings is not None and not (
            self._wordings and len(set(self._wordings)) == len(self._wordings) and set(self._wordings) <= set(known)
        ):
            raise ValueError(
                f"wordings={list(self._wordings)}: name some of 1 to {NUM_WORDINGS}, each once, or null for the texts "
                "that were written with the set"
            )

    def say(self, changes: Sequence[Change], before: Scene, rng: random.Random) -> str:
        """Changes of a room in the words of the set's own texts, or in the `wordings`."""
        if self._wordings is None:
            return super().say(changes, before, rng)
        return describe_in(self._wordings, changes, before, np.random.default_rng(rng.getrandbits(64)))

    def protocol(self, split: str) -> EvaluationProtocol:
        """As Hotel-CIR's; it names the wordings."""
        protocol = super().protocol(split)
        if self._wordings is None:
            return protocol
        return replace(protocol, text_template=f"the changes in wordings {', '.join(map(str, self._wordings))}")

    def _read(self, split: str) -> list[tuple[Triplet, tuple[str, ...]]]:
        records = super()._read(split)
        if self._wordings is None:
            return records
        if split not in self._reworded:
            self._reworded[split] = [(self._said_again(split, triplet), aspects) for triplet, aspects in records]
        return self._reworded[split]

    def _said_again(self, split: str, triplet: Triplet) -> Triplet:
        before, after = self._scenes_of(split, triplet)
        rng = random.Random(key_of_name(f"{triplet.reference_image} {triplet.target_image}"))
        return replace(triplet, modification_texts=(self.say(find_changes(before, after), before, rng),))

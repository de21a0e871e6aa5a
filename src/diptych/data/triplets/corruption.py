"""Training texts that are made untrue, for studies of what that costs: a known share, the truth kept."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from diptych.contracts.retrieval import Triplet, TripletSource
from diptych.data.triplets.changed_triplets import ChangedTriplets
from diptych.data.triplets.triplet_dataset import key_of_name

ANOTHER_TEXT = "another_text"  # the kind that needs no scenes: what was said of other images
_TRIES = 20  # strangers that are looked at: one whose text is true here too is rare


@dataclass(frozen=True, slots=True)
class UntrueText:
    """A training text that was made untrue: `text` stands in the place of `true_text`, which is the wording at
    `position` of its record. `kind` says how it errs.
    """

    source: str
    query_id: str
    position: int
    kind: str
    text: str
    true_text: str

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)


@dataclass(frozen=True)
class Corruption:
    """Makes the share `untrue` of each source's training texts untrue, exactly; of the texts evaluated, none.

    `kinds` are drawn from with equal chance, another one where a kind does not apply to a text. None: those that the
    source itself knows to be untrue by its scenes, or `another_text`, which is the text of another triplet: of the same
    group where that has one that is not true here too.

    Which texts, and how, depends on `seed` and the text's record alone: the untrue ones of a smaller share are among
    those of a larger one, with the same words. With `leave_out` these texts are not trained on at all, nor are triplets
    that have no other: what could be had at most from knowing them.

    Raises:
        ValueError: `untrue` is no share, or `kinds` is empty.
    """

    untrue: float = 0.0
    kinds: Sequence[str] | None = None
    seed: int = 0
    leave_out: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.untrue <= 1:
            raise ValueError(f"data.corruption.untrue={self.untrue} must be between 0 and 1")
        if self.kinds is not None and not self.kinds:
            raise ValueError("data.corruption.kinds is empty: name some, or null for those that the source knows")

    def kinds_of(self, source: TripletSource) -> tuple[str, ...]:
        """The kinds for a source; ValueError for one that it does not know."""
        known = (*source.untrue_kinds, ANOTHER_TEXT)
        if unknown := [kind for kind in self.kinds or () if kind not in known]:
            raise ValueError(f"data.corruption.kinds names {unknown[0]!r}; {source.name} knows {', '.join(known)}")
        return tuple(self.kinds or source.untrue_kinds or known)

    def of(self, source: TripletSource) -> CorruptedTriplets:
        """The source with its training texts corrupted."""
        return CorruptedTriplets(source, self)


class CorruptedTriplets(ChangedTriplets):
    """A source whose training texts are partly untrue; all else is as the source has it. `untrue_texts` are those.

    Reading raises ValueError where fewer texts than asked for can be made untrue, or a kind is unknown.
    """

    def __init__(self, source: TripletSource, corruption: Corruption) -> None:
        super().__init__(source)
        self.corruption = corruption

    def triplets(self, split: str) -> Sequence[Triplet]:
        """The source's, in its order; of `train` with the untrue texts in their places, or without them."""
        triplets = self.source.triplets(split)
        if split != "train":
            return triplets
        told: dict[str, dict[int, str | None]] = defaultdict(dict)
        for untrue in self.untrue_texts:
            told[untrue.query_id][untrue.position] = None if self.corruption.leave_out else untrue.text
        corrupted = [_with_texts(triplet, told.get(triplet.query_id, {})) for triplet in triplets]
        return [triplet for triplet in corrupted if triplet.modification_texts]

    @cached_property
    def untrue_texts(self) -> list[UntrueText]:
        """The texts that were made untrue, in an order that does not depend on how many are."""
        kinds, seed = self.corruption.kinds_of(self.source), self.corruption.seed
        places = [(one, place) for one in self.source.triplets("train") for place in range(len(one.modification_texts))]
        keys = {key_of_name(f"{seed}/{self.name}/{one.query_id}/{place}"): (one, place) for one, place in places}
        wanted = round(self.corruption.untrue * len(places))
        found: list[UntrueText] = []
        for key in sorted(keys):
            if len(found) == wanted:
                break
            if (untrue := self._untrue(*keys[key], kinds, random.Random(key))) is not None:
                found.append(untrue)
        if len(found) < wanted:
            raise ValueError(
                f"data.corruption.untrue={self.corruption.untrue}: of {len(places)} training texts of {self.name} only"
                f" {len(found)} can be made untrue in the ways {', '.join(kinds)}; lower it, or name more kinds"
            )
        return found

    def _untrue(self, triplet: Triplet, place: int, kinds: Sequence[str], rng: random.Random) -> UntrueText | None:
        true_text = triplet.modification_texts[place]
        for kind in rng.sample(kinds, len(kinds)):
            known = kind != ANOTHER_TEXT
            told = self.source.untrue_text("train", triplet, kind, rng) if known else self._another(triplet, rng)
            if told is not None and told not in triplet.modification_texts:
                return UntrueText(self.name, triplet.query_id, place, kind, told, true_text)
        return None

    def _another(self, triplet: Triplet, rng: random.Random) -> str | None:
        """A text of another triplet, of the same group if there is one, that is not true of this one too."""
        everywhere = self.source.triplets("train")
        strangers = (everywhere[rng.randrange(len(everywhere))] for _ in range(_TRIES))
        own = self._groups.get(triplet.group, [])
        for other in (*rng.sample(own, len(own)), *strangers):
            if other.query_id != triplet.query_id and not self.source.is_true_of("train", triplet, other):
                return rng.choice(other.modification_texts)
        return None

    @cached_property
    def _groups(self) -> dict[str, list[Triplet]]:
        groups = defaultdict(list)
        for triplet in self.source.triplets("train"):
            if triplet.group:
                groups[triplet.group].append(triplet)
        return groups


def _with_texts(triplet: Triplet, told: Mapping[int, str | None]) -> Triplet:
    """The triplet with these wordings in the places of its own; None leaves one out."""
    texts = (told.get(place, text) for place, text in enumerate(triplet.modification_texts))
    return replace(triplet, modification_texts=tuple(text for text in texts if text is not None))

"""Hard negatives of training queries: what a checkpoint's own ranking has put near the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from diptych.contracts.retrieval import Triplet, TripletSource
from diptych.data.triplets.changed_triplets import ChangedTriplets
from diptych.data.triplets.other_answers import other_answers
from diptych.storage.json_files import read_json_lines
from diptych.storage.json_shapes import Finite

_LINE = {"query_id": str, "ranked_ids": [str], "scores": [Finite], "set?": str}
_ADVICE = "data.mined.rankings is the predictions.jsonl of `python evaluate.py ckpt=RUN split=train`"


@dataclass(frozen=True)
class MinedNegatives:
    """Gives each training query of `rankings` its own distractors: the first `k` images of its ranking that are none of
    its known answers, nor its reference, nor score more than `margin` above its target.

    `rankings` is the `predictions.jsonl` that an evaluation of the training split has left; None mines nothing. An
    image that outranks the target by far is likelier an answer that nobody has written down than a mistake, so it is
    left out; a target beyond the end of the list counts as the last image there. The source's own distractors go.

    Raises:
        ValueError: `k` is under 1.
    """

    rankings: str | None = None
    k: int = 4
    margin: float = 0.1

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"data.mined.k={self.k} must be 1 or more; data.mined.rankings=null mines nothing")

    def of(self, source: TripletSource) -> MinedTriplets:
        """The source with distractors mined from the rankings, which are read when its triplets are."""
        return MinedTriplets(source, self)


class MinedTriplets(ChangedTriplets):
    """A source whose training triplets have mined distractors.

    Reading raises ValueError for rankings that cannot be read, or do not have all queries.
    """

    def __init__(self, source: TripletSource, mined: MinedNegatives) -> None:
        super().__init__(source)
        self.mined = mined

    def triplets(self, split: str) -> Sequence[Triplet]:
        """The source's, in its order; of `train` with the mined distractors."""
        return self._mined if split == "train" else self.source.triplets(split)

    @cached_property
    def _mined(self) -> list[Triplet]:
        triplets, path = self.source.triplets("train"), Path(str(self.mined.rankings))
        lines = read_json_lines(path, advice=_ADVICE, shape=_LINE)
        found = {line["query_id"]: line for line in lines if line.get("set", self.name) == self.name}
        absent = [triplet.query_id for triplet in triplets if triplet.query_id not in found]
        if absent:
            raise ValueError(
                f"{path} ranks {len(triplets) - len(absent)} of {len(triplets)} training queries of {self.name}, not "
                f"{absent[0]!r}: {_ADVICE}, of the same data"
            )
        for line in found.values():
            if len(line["ranked_ids"]) != len(line["scores"]):
                raise ValueError(f"{path}: query {line['query_id']!r} has not one score for each of its ranked_ids")
        answers = other_answers(triplets)
        return [
            replace(triplet, distractors=self._of(triplet, found[triplet.query_id], answers)) for triplet in triplets
        ]

    def _of(self, triplet: Triplet, line: Mapping[str, Any], answers: Mapping[str, set[str]]) -> tuple[str, ...]:
        scores = dict(zip(line["ranked_ids"], line["scores"], strict=True))
        of_target = scores.get(triplet.target_image, min(scores.values(), default=0.0))
        out = {triplet.reference_image, triplet.target_image, *answers.get(triplet.query_id, ())}
        near = (name for name, score in scores.items() if name not in out and score <= of_target + self.mined.margin)
        return tuple(near)[: self.mined.k]

"""The pairs of images of a triplet dataset, as a stage: what a pipeline that annotates them anew begins with."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import cached_property

from diptych.contracts.pipelines import Result
from diptych.contracts.retrieval import TripletSource
from diptych.data.pairs.triplet_pairs import TripletPair, pairs_of
from diptych.stages.running.record_stage import RecordStage


class ListPairs(RecordStage):
    """The pairs of a `split` of `source`, or `number` of them, drawn by `seed`. The records are lines of a pair file
    (docs/annotation.md): annotate with `pairs=<folder>/records.jsonl`.

    Raises:
        ValueError: `number` is less than 1; when run, the split has fewer pairs, or none.
    """

    record_key = "pair_id"

    def __init__(self, source: TripletSource, split: str, number: int | None = None, seed: int = 0) -> None:
        if number is not None and number < 1:
            raise ValueError(f"number={number}: want at least 1, or null for all")
        self.source, self.split, self.number, self.seed = source, split, number, seed

    @cached_property
    def _pairs(self) -> dict[str, TripletPair]:
        pairs = list(pairs_of({self.source.name: self.source}, self.split).pairs)
        if self.number is not None:
            if self.number > len(pairs):
                raise ValueError(f"number={self.number}: {self.split} of {self.source.name} has {len(pairs)} pairs")
            chosen = sorted(random.Random(self.seed).sample(range(len(pairs)), self.number))
            pairs = [pairs[place] for place in chosen]
        return {pair.pair_id: pair for pair in pairs}

    def ids(self) -> Sequence[str]:
        """The pairs, in the order of the source."""
        return list(self._pairs)

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """The line of each pair, its images as absolute paths."""
        for pair_id in ids:
            pair = self._pairs[pair_id]
            images = {"reference_image": str(pair.reference_image), "target_image": str(pair.target_image)}
            group = {"group": pair.group} if pair.group else {}
            yield {"pair_id": pair_id, **images, **group, "query_ids": list(pair.query_ids)}

"""The pairs of images of triplet datasets, as the annotation reads them: each pair once, traced back to its records."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych.contracts.retrieval import TripletSource


@dataclass(frozen=True, slots=True)
class TripletPair:
    """Two image files, and every record of the source that names them. `pair_id` is the first record's id (CIRR's
    `pairid`); with several sources behind the source's name.
    """

    pair_id: str
    source: str
    query_ids: tuple[str, ...]
    reference_image: Path
    target_image: Path
    group: str = ""

    def line(self, folder: Path) -> dict[str, Any]:
        """The line of a pair file whose relative paths begin at `folder`: images below it are named relative to it,
        others in full.
        """
        images = [_written(path, folder) for path in (self.reference_image, self.target_image)]
        group = {"group": self.group} if self.group else {}
        named = {"pair_id": self.pair_id, "reference_image": images[0], "target_image": images[1], **group}
        return {**named, "source": self.source, "query_ids": list(self.query_ids)}


@dataclass(frozen=True)
class TripletPairs:
    """The pairs of some sources in the order of first use.

    `num_records` counts the records; `repeated` holds the ids of those that name the images of an earlier one, and
    `unchanged` of those whose reference is their target: nothing can be said about it, so they are no pair.
    """

    pairs: tuple[TripletPair, ...]
    num_records: int
    repeated: tuple[str, ...]
    unchanged: tuple[str, ...]

    @property
    def images(self) -> tuple[Path, ...]:
        """All image files, in the order of first use. They need not be there."""
        return tuple(dict.fromkeys(path for pair in self.pairs for path in (pair.reference_image, pair.target_image)))


def pairs_of(sources: Mapping[str, TripletSource], split: str, aspects: Sequence[str] = ()) -> TripletPairs:
    """The different (reference, target) pairs of a split of all sources; only annotations are read. With `aspects`, of
    those records alone whose query has one of them.

    Raises:
        ValueError: a source hides the targets of the split, two pairs have one id, or as the sources' own.
    """
    found: dict[tuple[Path, Path], list[Any]] = {}
    repeated, unchanged, num_records = [], [], 0
    for name, source in sources.items():
        queries = source.queries(split) if aspects else []
        wanted = {query.query_id for query in queries if not set(aspects).isdisjoint(query.aspects)}
        for query_id, reference, target, group in _records(source, split):
            if aspects and query_id not in wanted:
                continue
            num_records += 1
            pair_id = query_id if len(sources) == 1 or query_id.startswith(f"{name}-") else f"{name}-{query_id}"
            images = source.image_path(split, reference), source.image_path(split, target)
            if images[0] == images[1]:
                unchanged.append(pair_id)
            elif images in found:
                repeated.append(pair_id)
                found[images][2].append(pair_id)
            else:
                found[images] = [pair_id, f"{name}/{split}", [pair_id], group]
    pairs = tuple(
        TripletPair(pair_id, source, tuple(query_ids), *images, group)
        for images, (pair_id, source, query_ids, group) in found.items()
    )
    _refuse_shared_ids(pairs)
    return TripletPairs(pairs, num_records, tuple(repeated), tuple(unchanged))


def _records(source: TripletSource, split: str) -> Iterator[tuple[str, str, str, str]]:
    """(query id, reference, target, group) of each record."""
    if "train" in source.splits:
        for triplet in source.triplets(split):
            yield triplet.query_id, triplet.reference_image, triplet.target_image, triplet.group
        return
    for query in source.queries(split):  # of sources that are only evaluated on, CIRCO
        if query.target_image is None:
            raise ValueError(f"{source.name}'s {split} split hides its targets: there are no pairs to annotate")
        yield query.query_id, query.reference_image, query.target_image, ""


def _refuse_shared_ids(pairs: Iterable[TripletPair]) -> None:
    known: set[str] = set()
    for pair in pairs:
        if pair.pair_id in known:
            raise ValueError(f"{pair.source}: two pairs have the id {pair.pair_id!r}; make the records' ids unique")
        known.add(pair.pair_id)


def _written(path: Path, folder: Path) -> str:
    """The file keeps its name, since names of images are read from it: only its folder's links are followed."""
    real = Path(os.path.realpath(path.parent), path.name)
    return real.relative_to(folder).as_posix() if real.is_relative_to(folder) else str(real)

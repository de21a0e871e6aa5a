"""Embedded images to pairs worth annotating: similar, but not the same."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from diptych.contracts.models import ImageIndex
from diptych.contracts.pipelines import Failure, Result
from diptych.data.pairs.image_folder import ImageFolder
from diptych.data.pairs.image_pairs import pair_id_of
from diptych.index.embedding_store import FACTS, IDS, StoredEmbeddings, open_embeddings
from diptych.stages.running.record_stage import RecordStage
from diptych.storage.json_files import write_json, write_json_lines
from diptych.storage.record_log import RecordFile

log = logging.getLogger(__name__)

SUMMARY = "summary.json"
_QUERIES_AT_ONCE = 2048


class ProposePairs(RecordStage):
    """For each image its neighbours; in the end `output` (by default `pairs.jsonl` in the stage's folder), a file of
    pairs for the annotation.

    A pair's similarity (cosine of `embeddings`, a folder that EmbedPhotos has made) lies from `low` to `high`. Images
    more similar than `high` are near-duplicates: the first by name stands for them, the others are in no pair. Where
    `images` has groups, pairs are formed within a group. An image is in at most `per_image` pairs; which ones, and
    which image is the reference, is drawn by `seed`. `depth` neighbours of each image are looked at.

    An image without an embedding fails as `no_embedding`.
    """

    record_key = "image_id"
    runtime_settings = ("embeddings", "output")

    def __init__(
        self,
        images: ImageFolder,
        embeddings: str | Path,
        index: ImageIndex,
        low: float = 0.7,
        high: float = 0.95,
        per_image: int = 2,
        depth: int = 50,
        seed: int = 0,
        output: str | Path | None = None,
    ) -> None:
        if not -1 <= low < high <= 1:
            raise ValueError(f"low={low}, high={high}: want two cosines, the first below the second")
        if per_image < 1 or depth < 1:
            raise ValueError(f"per_image={per_image}, depth={depth} must be at least 1")
        self.images, self.embeddings, self.index = images, Path(embeddings), index
        self.low, self.high, self.per_image, self.depth, self.seed = low, high, per_image, depth, seed
        self.output = None if output is None else Path(output)

    def input_files(self) -> Sequence[Path]:
        """The small files of the embeddings, which hold a hash of the vectors."""
        return [self.embeddings / name for name in (IDS, FACTS)]

    def output_files(self) -> Sequence[Path]:
        """`output`."""
        return [] if self.output is None else [self.output]

    @cached_property
    def _groups(self) -> dict[str, str]:
        return self.images.group_of([image.image_id for image in self.images.gallery()])

    def ids(self) -> Sequence[str]:
        """All images, sorted by id."""
        return list(self._groups)

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """`{"image_id", "nearest", "candidates": [{"image_id", "score"}], "near_duplicates"}` for each image."""
        stored = open_embeddings(self.embeddings)
        places = {name: place for place, name in enumerate(stored.ids)}
        for name in ids:
            if name not in places:
                message = f"{self.embeddings} has no embedding of it; see why in the failures.jsonl there"
                yield Failure(name, "no_embedding", message)
        members, wanted = defaultdict(list), defaultdict(list)
        for name, group in self._groups.items():
            if name in places:
                members[group].append(name)
        for name in ids:
            if name in places:
                wanted[self._groups[name]].append(name)
        for group, names in wanted.items():
            yield from self._neighbours(names, members[group], stored, places)

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """Chooses the pairs, and writes them and a summary.

        Raises:
            ValueError: there is no pair in the band.
        """
        records = RecordFile(folder, self.record_key).records()
        kept = _without_near_duplicates(records)
        chosen = self._chosen(records, kept)
        counts = {"images": len(self._groups), "near_duplicates": len(records) - len(kept), "pairs": len(chosen)}
        if not chosen:
            nearest = [record["nearest"] for record in records.values() if record["nearest"] is not None]
            found = (
                f"the nearest neighbours' run from {min(nearest)} to {max(nearest)}" if nearest else "no two compare"
            )
            raise ValueError(
                f"no two images have a similarity from low={self.low} to high={self.high}: {found}; set low and high"
                f" to what suits the encoder ({counts['near_duplicates']} near-duplicates were left out)"
            )
        output = self.output or folder / "pairs.jsonl"
        write_json_lines(output, (self._pair(*pair, output.parent.resolve()) for pair in chosen))
        write_json(folder / SUMMARY, counts, indent=1)
        log.info("%s: %s", output, ", ".join(f"{name.replace('_', '-')} {count:,}" for name, count in counts.items()))

    def _neighbours(
        self, names: Sequence[str], members: Sequence[str], stored: StoredEmbeddings, places: Mapping[str, int]
    ) -> Iterator[Mapping[str, Any]]:
        """The records of `names`, searched among `members` of the same group."""
        rows = np.array([places[name] for name in members])
        vectors = stored.vectors if len(rows) == len(stored.ids) else stored.vectors[rows]
        known = stored.ids if len(rows) == len(stored.ids) else members
        for start in range(0, len(names), _QUERIES_AT_ONCE):
            block = names[start : start + _QUERIES_AT_ONCE]
            queries = np.array(stored.vectors[[places[name] for name in block]], np.float32)
            positions, scores = self.index.search(queries, vectors, self.depth + 1)  # itself among them
            for name, row, row_scores in zip(block, positions, scores, strict=True):
                near = [
                    (known[position], round(float(score), 4))
                    for position, score in zip(row, row_scores, strict=True)
                    if position >= 0 and known[position] != name
                ]
                yield {
                    "image_id": name,
                    "nearest": near[0][1] if near else None,
                    "candidates": [
                        {"image_id": other, "score": score} for other, score in near if self.low <= score <= self.high
                    ],
                    "near_duplicates": [other for other, score in near if score > self.high],
                }

    def _chosen(self, records: Mapping[str, Mapping[str, Any]], kept: set[str]) -> list[tuple[str, str, float]]:
        """(reference, target, similarity) of the pairs, sorted by the ids."""
        scores: dict[tuple[str, str], float] = {}
        for name in sorted(kept):
            for other in records[name]["candidates"]:
                if other["image_id"] in kept:
                    scores.setdefault(tuple(sorted((name, other["image_id"]))), other["score"])
        drawn = sorted(scores, key=lambda pair: (self._draw(pair), pair))
        times: Counter[str] = Counter()
        chosen = []
        for pair in drawn:
            if max(times[name] for name in pair) < self.per_image:
                times.update(pair)
                reference, target = pair if self._draw(pair)[-1] % 2 else pair[::-1]
                chosen.append((reference, target, scores[pair]))
        return sorted(chosen)

    def _draw(self, pair: tuple[str, str]) -> bytes:
        return hashlib.sha256("\n".join([str(self.seed), *pair]).encode()).digest()

    def _pair(self, reference: str, target: str, score: float, folder: Path) -> dict[str, Any]:
        paths = [_written(self.images.root / name, folder) for name in (reference, target)]
        group = {"group": self._groups[reference]} if self._groups[reference] else {}
        named = {"pair_id": pair_id_of(reference, target), "reference_image": paths[0], "target_image": paths[1]}
        return {**named, **group, "similarity": score}


def _without_near_duplicates(records: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """The images of which no earlier one, by name, is a near-duplicate that stays."""
    near = defaultdict(set)
    for name, record in records.items():
        for other in record["near_duplicates"]:
            near[name].add(other)
            near[other].add(name)
    kept: set[str] = set()
    for name in sorted(records):
        if kept.isdisjoint(near[name]):
            kept.add(name)
    return kept


def _written(path: Path, folder: Path) -> str:
    """A path below the folder relative to it, any other one in full."""
    path = path.resolve()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)

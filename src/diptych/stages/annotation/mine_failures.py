"""What a trained model ranks above the targets of its own training queries, as pairs to be annotated next."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from diptych.annotation.failure_pairs import (
    Pair,
    Ranked,
    choose_pairs,
    pairs_beside,
    pairs_of_failures,
    pairs_of_near_misses,
)
from diptych.contracts.models import QueryEncoder
from diptych.contracts.pipelines import Failure, Result
from diptych.contracts.retrieval import Triplet
from diptych.data.pairs.image_folder import ImageFolder
from diptych.data.pairs.image_pairs import pair_id_of
from diptych.data.triplets.triplet_jsonl import TripletJSONL
from diptych.index.embedding_store import FACTS, IDS, open_embeddings
from diptych.ranking.ranking import Ranking, rank
from diptych.stages.news.embed_photos import filled_up
from diptych.stages.running.record_stage import RecordStage
from diptych.storage.json_files import write_json, write_json_lines
from diptych.storage.record_log import RecordFile

log = logging.getLogger(__name__)

SUMMARY = "failures.json"
CHOICES = ("failures", "beside")
_BATCH_SIZE = 64
_DEPTH = 50  # results of a query that are looked at where images have no groups


class MineFailures(RecordStage):
    """Searches `images` with every training triplet of the folder `triplets`, and writes `output`, a file of at most
    `num_pairs` new pairs for the annotation.

    `embeddings` is a folder that EmbedPhotos has made of the images, with the `encoder` that also embeds the queries; a
    query is a triplet's reference with its longest text, the one that says most. The gallery holds the reference.
    `choose` says what becomes of it (`annotation/failure_pairs.py`): `failures`, what was ranked above the target, and
    as far as there is less of it than is asked for, near misses, what was ranked behind it; `beside`, as many pairs of
    the same references drawn at random, to compare with. Pairs are formed within the groups of `images`. Files of equal
    content are one image, and no pair is one that `triplets` has a text for.

    Records are `{"query_id", "rank", "reference_rank", "missed_for", "reference", "target", "above", "below"}`.
    `failures.json` counts the queries, those whose target came first, of the others what did (`reference`,
    `same_group`, `other_group`), the pairs there are of each kind, and those written. A triplet fails as
    `not_in_images` where the folder lacks one of its images, and as `no_embedding` where that could not be embedded.

    Raises:
        ValueError: another choice, or no pair is asked for.
    """

    runtime_settings = ("embeddings", "triplets", "output")

    def __init__(
        self,
        images: ImageFolder,
        embeddings: str | Path,
        encoder: QueryEncoder,
        triplets: str | Path,
        num_pairs: int,
        output: str | Path,
        choose: str = "failures",
        seed: int = 0,
    ) -> None:
        if choose not in CHOICES:
            raise ValueError(f"choose={choose}: one of {', '.join(CHOICES)}")
        if num_pairs < 1:
            raise ValueError(f"num_pairs={num_pairs}: want at least 1")
        self.images, self.embeddings, self.encoder = images, Path(embeddings), encoder
        self.triplets = TripletJSONL(triplets, name="triplets")
        self.num_pairs, self.output, self.choose, self.seed = num_pairs, Path(output), choose, seed
        self._content = cache(_content)  # an image is in many triplets, and read once

    def input_files(self) -> Sequence[Path]:
        """The small files of the embeddings, which hold a hash of the vectors; the checkpoint; the training file."""
        files = [self.embeddings / name for name in (IDS, FACTS)]
        return [*files, *getattr(self.encoder, "input_files", ()), self.triplets.root / "train.jsonl"]

    def output_files(self) -> Sequence[Path]:
        """The pairs."""
        return [self.output]

    def ids(self) -> Sequence[str]:
        """The training triplets, in file order."""
        return list(self._triplets)

    @cached_property
    def _triplets(self) -> dict[str, Triplet]:
        return {triplet.query_id: triplet for triplet in self.triplets.triplets("train")}

    @cached_property
    def _same(self) -> dict[str, str]:
        """By the SHA-256 of its content the image, the first by id of those that have it."""
        gallery = self.images.gallery()
        paths = track(gallery, "comparing images", console=Console(stderr=True), disable=len(gallery) < _DEPTH)
        found: dict[str, str] = {}
        for image in paths:
            found.setdefault(self._content(image.path), image.image_id)
        return found

    @cached_property
    def _groups(self) -> dict[str, str]:
        """By image the name of its group; only the first of images with the same content."""
        return self.images.group_of(list(self._same.values()))

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """The record of each triplet."""
        stored = open_embeddings(self.embeddings)
        places = {name: place for place, name in enumerate(stored.ids) if name in self._groups}
        asked: dict[str, Pair] = {}
        for query_id in ids:
            pair = self._images_of(self._triplets[query_id])
            if isinstance(pair, Failure):
                yield pair
            elif absent := [image for image in pair if image not in places]:
                yield Failure(query_id, "no_embedding", f"{self.embeddings} has none of {absent[0]}; see its failures")
            else:
                asked[query_id] = pair
        if not asked:
            return
        gallery_ids = list(places)
        rows = torch.from_numpy(np.array(stored.vectors[[*places.values()]], np.float32))
        at = {name: position for position, name in enumerate(gallery_ids)}
        members = defaultdict(list)
        for name in gallery_ids:
            members[self._groups[name]].append(at[name])
        self.encoder.load()
        names = list(asked)
        for start in range(0, len(names), _BATCH_SIZE):
            block = names[start : start + _BATCH_SIZE]
            ranking = rank(
                self._embedded(block),
                rows,
                k=min(_DEPTH, len(gallery_ids)),
                relevant=[[at[image] for image in reversed(asked[name])] for name in block],
                members=[members[self._groups[asked[name][1]]] if self.images.groups else () for name in block],
            )
            for row, name in enumerate(block):
                yield self._record(name, asked[name], ranking, row, gallery_ids)

    def _images_of(self, triplet: Triplet) -> Pair | Failure:
        """Its reference and target among the images."""
        found = []
        for name in (triplet.reference_image, triplet.target_image):
            image = self._same.get(self._content(self.triplets.image_path("train", name)))
            if image is None:
                message = f"{self.images.root} has no image with the content of {name}"
                return Failure(triplet.query_id, "not_in_images", message)
            found.append(image)
        return found[0], found[1]

    def _embedded(self, query_ids: Sequence[str]) -> torch.Tensor:
        triplets = filled_up([self._triplets[name] for name in query_ids], _BATCH_SIZE)
        paths = [self.triplets.image_path("train", one.reference_image) for one in triplets]
        texts = [max(one.modification_texts, key=len) for one in triplets]
        return self.encoder.embed_queries(paths, texts)[: len(query_ids)]

    def _record(
        self, query_id: str, pair: Pair, ranking: Ranking, row: int, gallery_ids: Sequence[str]
    ) -> Mapping[str, Any]:
        (reference, target), (place, own) = pair, ranking.relevant_ranks[row]
        best = [gallery_ids[position] for position in ranking.positions[row].tolist()]
        of_group = [gallery_ids[position] for position in ranking.member_order[row]] if self.images.groups else best
        at = of_group.index(target) if target in of_group else len(of_group)
        first = "reference" if best[0] == reference else "same_group"
        if self._groups[best[0]] != self._groups[target]:
            first = "other_group"
        ranked: dict[str, Any] = {"rank": place, "reference_rank": own, "missed_for": None if place == 1 else first}
        return {
            "query_id": query_id,
            **ranked,
            "reference": reference,
            "target": target,
            "above": of_group[:at],
            "below": of_group[at + 1 :],
        }

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """Chooses the pairs, and writes them and the counts.

        Raises:
            ValueError: there is no new pair.
        """
        records = RecordFile(folder, self.record_key).records()
        queries = [
            Ranked(name, one["reference"], one["target"], one["above"], one["below"]) for name, one in records.items()
        ]
        members = defaultdict(list)
        for name, group in self._groups.items():
            members[group].append(name)
        kinds: dict[str, dict[str, Iterator[Pair]]] = {
            "failures": {one.query_id: pairs_of_failures(one) for one in queries},
            "near_misses": {one.query_id: pairs_of_near_misses(one) for one in queries},
        }
        if self.choose == "beside":
            beside = {one.query_id: pairs_beside(one, members[self._groups[one.target]], self.seed) for one in queries}
            kinds = {"beside": beside}
        known = {(one.reference, one.target) for one in queries} | self._accepted(records)
        chosen, numbers = choose_pairs([*kinds.values()], known, self.num_pairs, self.seed)
        missed = Counter(record["missed_for"] for record in records.values())
        counts = {"queries": len(records), "found": missed.pop(None, 0), "missed_for": dict(sorted(missed.items()))}
        counts |= {**dict(zip(kinds, numbers, strict=True)), "pairs": len(chosen)}
        if not chosen:
            raise ValueError(
                f"there is no new pair: all pairs of images that a group has with the references of {len(records)}"
                " training queries have a text already"
            )
        if len(chosen) < self.num_pairs:
            log.warning("%d pairs, not the %d asked for: there are no more", len(chosen), self.num_pairs)
        write_json_lines(self.output, (self._line(query_id, pair) for query_id, pair in chosen))
        write_json(folder / SUMMARY, counts, indent=1)
        log.info("%s: %d pairs; %s", self.output, len(chosen), counts)

    def _accepted(self, records: Mapping[str, Mapping[str, Any]]) -> set[Pair]:
        """The references with all other images that their triplets accept as an answer."""
        found = set()
        for query in self.triplets.queries("train"):
            for name in set(query.relevant_ids) - {query.target_image}:
                image = self._same.get(self._content(self.triplets.image_path("train", name)))
                if image is not None and query.query_id in records:
                    found.add((records[query.query_id]["reference"], image))
        return found

    def _line(self, query_id: str, pair: Pair) -> dict[str, Any]:
        """The pair for its file, with the training query that it comes from."""
        places = [self.images.root / name for name in pair]
        paths = [str(Path(os.path.realpath(path.parent), path.name)) for path in places]
        group = {"group": self._groups[pair[0]]} if self._groups[pair[0]] else {}
        named = {"pair_id": pair_id_of(*pair), "reference_image": paths[0], "target_image": paths[1], **group}
        return {**named, "query_ids": [query_id]}


def _content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

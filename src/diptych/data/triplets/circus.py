"""CIRCUS: the queries of CIRR, CIRCO, FashionIQ and LaSCo that no single modality answers and that people found well
formed (Attimonelli et al., 2026).

It is a list: texts, images and galleries are those of the set that a query comes from.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from diptych.contracts.retrieval import EvaluationProtocol, GalleryImage, Query, Triplet, TripletSource
from diptych.data.annotations import Record, check_split, load_json_lines
from diptych.storage.presence import require_folder

_COCO_NUMBER = re.compile(r"(?:COCO_val2014_)?0*(\d+)")  # of CIRCO's and LaSCo's file names
# The benchmark as the list calls it, and whether its images are numbers.
_NUMBERED = {"cirr": False, "circo": True, "fashioniq": False, "lasco": True}
_KINDS = ("composition_required", "unresolved")


class CIRCUS(TripletSource):
    """The listed queries of one set, as a `TripletSource` named after that set; the only split is val, as in the list.

    `benchmark` is the set's name in the list, `source` the set itself: of FashionIQ one category, whose queries are
    taken. A query is found by its reference and its target, and by its text where several have the same two. Aspects
    tell queries that a model had solved (`composition_required`) from those that none had (`unresolved`).
    """

    docs_page = "docs/circus.md"
    splits = ("val",)

    def __init__(self, root: str | Path, benchmark: str, source: TripletSource) -> None:
        if benchmark not in _NUMBERED:
            raise ValueError(f"CIRCUS has no benchmark {benchmark!r}; choose one of {', '.join(_NUMBERED)}")
        self.root, self.name = Path(root), source.name
        self._benchmark, self._source = benchmark, source
        self._queries: list[Query] | None = None

    def prepare(self) -> None:
        """Has the set made, where it can be made."""
        self._source.prepare()

    def triplets(self, split: str) -> list[Triplet]:
        """Always an error: CIRCUS is for evaluation.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"CIRCUS has no training split (asked for {split!r}); train on the sets that it is a part of")

    def queries(self, split: str) -> list[Query]:
        """The listed queries, in the order of the list.

        Raises:
            ValueError: the list or the set is absent or breaks its format; a listed query is not in the set (names the
                line), or none of the list is.
        """
        check_split(split, self.splits, "CIRCUS")
        if self._queries is None:
            require_folder(self.root, "CIRCUS", self.docs_page)
            path = self.root / "final_dataset" / "all_validated_queries.jsonl"
            self._queries = self._listed(load_json_lines(path, self.docs_page, identified_by="query_idx"), path)
        return self._queries

    def gallery(self, split: str) -> Sequence[GalleryImage]:
        """That of the set's val split."""
        check_split(split, self.splits, "CIRCUS")
        return self._source.gallery(split)

    def protocol(self, split: str) -> EvaluationProtocol:
        """The set's, under the name `circus_<set>`, judged by recall at 10, in all and by kind."""
        check_split(split, self.splits, "CIRCUS")
        of_set = self._source.protocol(split)
        return replace(
            of_set,
            name=f"circus_{self.name}",
            recall_ks=tuple(sorted({*of_set.recall_ks, 10})),
            primary_metric="recall_at_10",
            average_of=(),
            aspect_metrics=("recall_at_10",),
        )

    def image_path(self, split: str, image_id: str) -> Path:
        """The file of an image of the set."""
        check_split(split, self.splits, "CIRCUS")
        return self._source.image_path(split, image_id)

    def _listed(self, records: Sequence[Record], path: Path) -> list[Query]:
        by_images: dict[tuple[str, str | None], list[Query]] = defaultdict(list)
        for query in self._source.queries("val"):
            by_images[query.reference_image, query.target_image].append(query)
        listed: dict[str, Query] = {}
        for record in records:
            if record.name("dataset") != self._benchmark:
                continue
            kind = record.name("hidden_category")
            if kind not in _KINDS:
                raise record.error(f"key 'hidden_category' must be one of {', '.join(_KINDS)}, found {kind!r}")
            meant = self._found(record, by_images)
            if meant is None:
                continue
            if meant.query_id in listed:
                raise record.error(f"query {meant.query_id} of {self.name} is listed twice")
            listed[meant.query_id] = replace(meant, aspects=(kind,))
        if not listed:
            raise ValueError(f"{path}: no query of {self.name} (dataset {self._benchmark!r}) is listed")
        return list(listed.values())

    def _found(self, record: Record, by_images: dict[tuple[str, str | None], list[Query]]) -> Query | None:
        """The set's query that is meant; None for one of another category of FashionIQ."""
        reference, target = (self._image(record, f"{role}_image_path") for role in ("query", "target"))
        found = by_images.get((reference, target), [])
        if not found and self._benchmark == "fashioniq":
            return None
        if len(found) > 1:
            found = [query for query in found if _words(query.text) == _words(record.text("query_text"))]
        if not found:
            raise record.error(
                f"{self.name} has no query from {reference} to {target} with this text: is it the release that"
                f" {self.docs_page} names?"
            )
        return found[0]

    def _image(self, record: Record, key: str) -> str:
        """The set's id of an image: of a path on the machine of the authors, the file's name without its ending."""
        stem = PurePosixPath(record.name(key)).stem
        if not _NUMBERED[self._benchmark]:
            return stem
        number = _COCO_NUMBER.fullmatch(stem)
        if number is None:
            raise record.error(f"key {key!r} must end in the file name of a COCO image, found {stem!r}")
        return number[1]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())

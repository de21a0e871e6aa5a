"""Your own triplets: one JSON object a line, images as paths relative to the file. docs/own_data.md is its page.

Image ids are those relative paths, in one spelling (`safe_relative`). good4cir's `dataset.json` is read too, once its
images are local files.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from pathlib import Path

from diptych.contracts.retrieval import EvaluationProtocol, GalleryImage, Query, Triplet, TripletSource
from diptych.data.annotations import (
    Record,
    check_split,
    first_repeated,
    in_order,
    load_json_lines,
    load_records,
    resolve_inside,
    unique_queries,
)
from diptych.storage.presence import require_folder
from diptych.storage.relative_paths import safe_relative

log = logging.getLogger(__name__)

_KEYS = (
    "query_id",
    "reference_image",
    "modification_texts",
    "target_image",
    "relevant_ids",
    "group_member_ids",
    "distractors",
    "group",
)


class TripletJSONL(TripletSource):
    """Triplets of your own on disk, as a `TripletSource`.

    Each split is `<root>/<split>.jsonl`, unless `files` names another file below the root, for example
    `{"train": "dataset.json"}`: a name that ends in `.json` is read as good4cir's output. A split is evaluated on the
    gallery of all images that its file names, in the order of first use, without the query's own reference
    (`exclude_reference`). Subset recalls are reported if records have `group_member_ids`, mAP if they have several
    `relevant_ids`.
    """

    docs_page = "docs/own_data.md"
    splits = ("train", "val", "test")

    def __init__(
        self,
        root: str | Path,
        files: Mapping[str, str] | None = None,
        name: str = "own_data",
        exclude_reference: bool = True,
    ) -> None:
        self.root = Path(root)
        self.name = name
        self._exclude_reference = exclude_reference
        self._files = {split: f"{split}.jsonl" for split in self.splits}
        for split, file in (files or {}).items():
            self._files[check_split(split, self.splits, name)] = safe_relative(file)
        self._records: dict[str, list[tuple[Query, Triplet | None]]] = {}

    def triplets(self, split: str) -> list[Triplet]:
        """Training records.

        Raises:
            ValueError: a record has no `target_image`; or as `queries`.
        """
        triplets = []
        for query, triplet in self._read(split):
            if triplet is None:
                raise ValueError(f"{self._file(split)}, query {query.query_id!r}: cannot train without 'target_image'")
            triplets.append(triplet)
        return triplets

    def queries(self, split: str) -> list[Query]:
        """Evaluation records; the text is every wording, joined with blanks.

        Raises:
            ValueError: the file is absent or a record breaks the schema; names the line and the key.
        """
        return [query for query, _ in self._read(split)]

    def gallery(self, split: str) -> list[GalleryImage]:
        """Every image that the split's file names, in the order of first use."""
        images: list[str] = []
        for query, triplet in self._read(split):
            images += (query.reference_image, *query.relevant_ids, *query.group_member_ids)
            images += triplet.distractors if triplet else ()
        return [GalleryImage(image, self.image_path(split, image)) for image in in_order(images)]

    def protocol(self, split: str) -> EvaluationProtocol:
        """`<name>_<split>`; the metrics follow from what the records hold, so this reads the file."""
        queries = self.queries(split)
        grouped = any(query.group_member_ids for query in queries)
        several = any(len(query.relevant_ids) > 1 for query in queries)
        return EvaluationProtocol(
            name=f"{self.name}_{split}",
            version=1,
            gallery=f"all images that {self._files[split]} names",
            exclude_reference=self._exclude_reference,
            text_template="{modification_texts}",
            caption_joining="all wordings, joined with blanks",
            recall_ks=(1, 5, 10, 50),
            subset_ks=(1, 2, 3) if grouped else (),
            map_ks=(5, 10, 25, 50) if several else (),
            answers_hidden=queries[0].target_image is None,
        )

    def image_path(self, split: str, image_id: str) -> Path:
        """The file of an image: its path relative to the split's file."""
        check_split(split, self.splits, self.name)
        return resolve_inside(self.root, Path(self._files[split]).parent.joinpath(safe_relative(image_id)).as_posix())

    def _file(self, split: str) -> Path:
        return self.root / self._files[split]

    def _read(self, split: str) -> list[tuple[Query, Triplet | None]]:
        check_split(split, self.splits, self.name)
        if split not in self._records:
            require_folder(self.root, self.name, self.docs_page)
            path = self._file(split)
            pairs = self._read_good4cir(path) if path.suffix == ".json" else self._read_lines(path)
            unique_queries([query for query, _ in pairs], path)
            hidden = sum(query.target_image is None for query, _ in pairs)
            if 0 < hidden < len(pairs):
                raise ValueError(f"{path}: {hidden} of {len(pairs)} records have no 'target_image'; all or none may")
            self._records[split] = pairs
        return self._records[split]

    def _read_lines(self, path: Path) -> list[tuple[Query, Triplet | None]]:
        pairs = []
        for record in load_json_lines(path, self.docs_page, identified_by="query_id"):
            _refuse_misspelt(record)
            pairs.append(_pair(record, _query_id(record), _wordings(record, "modification_texts")))
        return pairs

    def _read_good4cir(self, path: Path) -> list[tuple[Query, Triplet | None]]:
        pairs, silent = [], 0
        for position, record in enumerate(load_records(path, self.docs_page)):
            wordings = record.wordings("difference_captions")
            if wordings:
                record.name("target_image")  # the answers of this format are never hidden
                pairs.append(_pair(record, f"{path.stem}-{position}", wordings))
            silent += not wordings
        if silent:
            log.warning("%s: left out %d records without a caption", path, silent)
        if not pairs:
            raise ValueError(f"{path}: no record has a text under 'difference_captions'")
        return pairs


def _pair(record: Record, query_id: str, wordings: tuple[str, ...]) -> tuple[Query, Triplet | None]:
    reference = _image(record, "reference_image", record.name("reference_image"))
    target = _image(record, "target_image", record.name("target_image")) if "target_image" in record else None
    relevant, members, distractors = (
        _images(record, key) for key in ("relevant_ids", "group_member_ids", "distractors")
    )
    if relevant and target not in relevant:
        raise record.error("key 'relevant_ids' lists all accepted answers, so 'target_image' must be among them")
    if members and not {reference, target} - {None} <= set(members):
        raise record.error("key 'group_member_ids' must hold 'reference_image' and 'target_image'")
    query = Query(
        query_id=query_id,
        reference_image=reference,
        text=" ".join(wordings),
        target_image=target,
        relevant_ids=relevant or (() if target is None else (target,)),
        group_member_ids=members,
        distractors=distractors,
    )
    group = record.name("group") if "group" in record else ""
    triplet = None if target is None else Triplet(query_id, reference, wordings, target, distractors, group, relevant)
    return query, triplet


def _query_id(record: Record) -> str:
    if isinstance(record.data.get("query_id"), int):
        return str(record.integer("query_id"))
    return record.name("query_id")


def _wordings(record: Record, key: str) -> tuple[str, ...]:
    wordings = record.wordings(key)
    if not wordings:
        raise record.error(f"key {key!r} holds no text")
    return wordings


def _image(record: Record, key: str, location: str) -> str:
    if "://" in location:
        raise record.error(
            f"key {key!r} is a URL, {location}: images are read from disk only. Fetch them first (docs/own_data.md has"
            " the commands) and write their paths relative to this file"
        )
    try:
        return safe_relative(location)
    except ValueError as error:
        raise record.error(f"key {key!r}: {error}") from None


def _images(record: Record, key: str) -> tuple[str, ...]:
    """Different images, however they are spelt."""
    images = tuple(_image(record, key, value) for value in record.names(key))
    if (repeated := first_repeated(images)) is not None:
        raise record.error(f"key {key!r} holds {repeated!r} twice, in two spellings")
    return images


def _refuse_misspelt(record: Record) -> None:
    """Keys beyond the schema are the user's own business, unless they look like one of ours."""
    for key in record.data.keys() - set(_KEYS):
        close = difflib.get_close_matches(key, _KEYS, n=1, cutoff=0.8)
        if close:
            raise record.error(f"unknown key {key!r}; did you mean {close[0]!r}?")

"""Your own triplets: one JSON object a line, or a table; images as paths relative to the file. docs/own_data.md is its
page.

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
from diptych.data.local_paths import local_path
from diptych.data.splits import SPLIT, counted, split_of
from diptych.data.tables import SEPARATORS
from diptych.data.triplets.triplet_table import drawn_splits, table_records
from diptych.storage.presence import require_folder
from diptych.storage.relative_paths import safe_relative

log = logging.getLogger(__name__)

Pair = tuple[Query, Triplet | None]

_KEYS = (
    "query_id",
    "reference_image",
    "modification_texts",
    "target_image",
    "relevant_ids",
    "group_member_ids",
    "distractors",
    "group",
    SPLIT,
)


class TripletJSONL(TripletSource):
    """Triplets of your own on disk, as a `TripletSource`.

    Each split is `<root>/<split>.jsonl`, unless `files` names another file below the root, for example `{"train":
    "dataset.json"}`: a name that ends in `.json` is read as good4cir's output, one in `.csv` or `.tsv` as a table.
    `table` is one file, of any of these forms, for all splits: its records say theirs under `split`, or none does, and
    they are drawn (`drawn_splits`). A split is evaluated on the gallery of all images that its file names, in the order
    of first use, without the query's own reference (`exclude_reference`). Subset recalls are reported if records have
    `group_member_ids`, mAP if they have several `relevant_ids`.
    """

    docs_page = "docs/own_data.md"
    query_ids = "the query_id of the records; of a table without that column row-1 is the first row below the names"
    splits = ("train", "val", "test")

    def __init__(
        self,
        root: str | Path,
        files: Mapping[str, str] | None = None,
        name: str = "own_data",
        exclude_reference: bool = True,
        table: str | None = None,
    ) -> None:
        if files and table:
            raise ValueError(f"{name}: files= names a file for each split, table= one for all; set one of them")
        self.root = Path(root)
        self.name = name
        self._exclude_reference = exclude_reference
        self._files = {split: f"{split}.jsonl" for split in self.splits}
        for split, file in (files or {}).items():
            self._files[check_split(split, self.splits, name)] = safe_relative(file)
        self._table = None if table is None else safe_relative(table)
        if self._table is not None:
            self._files = dict.fromkeys(self.splits, self._table)
        self._records: dict[str, list[Pair]] = {}

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
        for query, triplet in self._read(split) if self._table is None else self._all_of_table(split):
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

    def _read(self, split: str) -> list[Pair]:
        check_split(split, self.splits, self.name)
        if split not in self._records:
            require_folder(self.root, self.name, self.docs_page)
            path = self._file(split)
            read = {split: _read_file(path, self.docs_page)} if self._table is None else self._read_table(path)
            for pairs in read.values():
                _check_split(pairs, path)
            self._records |= read
        if split not in self._records:
            there = ", ".join(self._records)
            raise ValueError(f"{self._file(split)}: no record is of the split {split!r}; there are {there}")
        return self._records[split]

    def _read_table(self, path: Path) -> dict[str, list[Pair]]:
        """The triplets of one file by the split that they name, or that is drawn for them."""
        records = [] if path.suffix == ".json" else _records_of(path, self.docs_page)
        pairs = [_pair(record) for record in records] or _read_good4cir(path, self.docs_page)
        named = [SPLIT in record for record in records]
        if any(named):
            splits = [split_of(record, self.splits) for record in records]
        else:
            splits, apart = drawn_splits(pairs)
            log.info("%s: no record names a split; drawn: %s", path, counted(splits))
            if not apart:
                log.warning(
                    "%s: too many triplets hang together by pictures that they share, so that pictures of val and"
                    " test are trained on too; name the splits yourself, in a column or key 'split'",
                    path,
                )
        by_split: dict[str, list[Pair]] = {}
        for split, pair in zip(splits, pairs, strict=True):
            by_split.setdefault(split, []).append(pair)
        return by_split

    def _all_of_table(self, split: str) -> list[Pair]:
        self._read(split)
        return [pair for pairs in self._records.values() for pair in pairs]


def _read_file(path: Path, docs_page: str) -> list[Pair]:
    if path.suffix == ".json":
        return _read_good4cir(path, docs_page)
    return [_pair(record) for record in _records_of(path, docs_page)]


def _records_of(path: Path, docs_page: str) -> list[Record]:
    """The records of a table, or of JSON lines."""
    if path.suffix.lower() in SEPARATORS:
        return table_records(path, docs_page)
    records = load_json_lines(path, docs_page, identified_by="query_id")
    for record in records:
        _refuse_misspelt(record)
    return records


def _read_good4cir(path: Path, docs_page: str) -> list[Pair]:
    pairs, silent = [], 0
    for position, record in enumerate(load_records(path, docs_page)):
        wordings = record.wordings("difference_captions")
        if wordings:
            record.name("target_image")  # the answers of this format are never hidden
            pairs.append(_pair_of(record, f"{path.stem}-{position}", wordings))
        silent += not wordings
    if silent:
        log.warning("%s: left out %d records without a caption", path, silent)
    if not pairs:
        raise ValueError(f"{path}: no record has a text under 'difference_captions'")
    return pairs


def _check_split(pairs: list[Pair], path: Path) -> None:
    unique_queries([query for query, _ in pairs], path)
    hidden = sum(query.target_image is None for query, _ in pairs)
    if 0 < hidden < len(pairs):
        raise ValueError(f"{path}: {hidden} of {len(pairs)} records have no 'target_image'; all or none may")


def _pair(record: Record) -> Pair:
    return _pair_of(record, _query_id(record), _wordings(record, "modification_texts"))


def _pair_of(record: Record, query_id: str, wordings: tuple[str, ...]) -> Pair:
    reference = local_path(record, "reference_image", record.name("reference_image"))
    target = local_path(record, "target_image", record.name("target_image")) if "target_image" in record else None
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


def _images(record: Record, key: str) -> tuple[str, ...]:
    """Different images, however they are spelt."""
    images = tuple(local_path(record, key, value) for value in record.names(key))
    if (repeated := first_repeated(images)) is not None:
        raise record.error(f"key {key!r} holds {repeated!r} twice, in two spellings")
    return images


def _refuse_misspelt(record: Record) -> None:
    """Keys beyond the schema are the user's own business, unless they look like one of ours."""
    for key in record.data.keys() - set(_KEYS):
        close = difflib.get_close_matches(key, _KEYS, n=1, cutoff=0.8)
        if close:
            raise record.error(f"unknown key {key!r}; did you mean {close[0]!r}?")

"""CIRR: real-life photos, one sentence of change, six look-alikes per query (Liu et al., ICCV 2021), release rc2.

Image ids are image names such as `dev-244-0-img0`; query ids are the `pairid` as text. The labels `target_soft` are
not read: they may leave out the target and hold images outside the set, and no standard metric uses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from diptych.contracts.retrieval import EvaluationProtocol, GalleryImage, Query, Triplet, TripletSource
from diptych.data.annotations import (
    Record,
    check_split,
    in_order,
    load_json,
    load_records,
    resolve_inside,
    unique_queries,
)
from diptych.storage.presence import require_folder
from diptych.storage.relative_paths import safe_relative

# The test split is called test1 in every file name, the val split dev in image names.
FILE_SPLITS = {"train": "train", "val": "val", "test": "test1"}
_SET_SIZE = 6


class CIRRFiles:
    """Where the files of a CIRR folder are. Two layouts are in use, and both are found:

    A: `captions/`, `image_splits/` and `img_raw/<split path>` directly under the root;
    B: `cirr/captions/`, `cirr/image_splits/`, and `<split path>` directly under the root.
    """

    def __init__(self, root: str | Path, docs_page: str) -> None:
        self.root = Path(root)
        self.docs_page = docs_page
        self._split_paths: dict[str, dict[str, str]] = {}

    def annotations(self) -> Path:
        """The folder that holds `captions` and `image_splits`.

        Raises:
            ValueError: the root is absent, or neither layout is in it.
        """
        require_folder(self.root, "CIRR", self.docs_page)
        for folder in (self.root, self.root / "cirr"):
            if (folder / "image_splits").is_dir():
                return folder
        raise ValueError(
            f"{self.root} holds neither image_splits/ nor cirr/image_splits/; {self.docs_page} shows the two layouts"
        )

    def images(self) -> Path:
        """The folder that the paths of the split files start from."""
        return self.root / "img_raw" if self.annotations() == self.root else self.root

    def split_file(self, split: str) -> Path:
        """The file that lists the split's images."""
        return self.annotations() / "image_splits" / f"split.rc2.{FILE_SPLITS[split]}.json"

    def split_paths(self, split: str) -> dict[str, str]:
        """Image name to path below `images()`, in file order.

        Raises:
            ValueError: the file is not a JSON object of relative paths, or is empty.
        """
        if split not in self._split_paths:
            self._split_paths[split] = self._read_split(self.split_file(split))
        return self._split_paths[split]

    def image_path(self, split: str, image_id: str) -> Path:
        """The file of a named image.

        Raises:
            ValueError: the split does not list the name, or its path leads outside the folder.
        """
        paths = self.split_paths(split)
        if image_id not in paths:
            raise ValueError(f"{self.split_file(split)}: no image is called {image_id!r}")
        return resolve_inside(self.images(), paths[image_id])

    def gallery(self, split: str) -> list[GalleryImage]:
        """Every image of the split file, in its order."""
        images = self.images()
        return [GalleryImage(name, resolve_inside(images, path)) for name, path in self.split_paths(split).items()]

    def _read_split(self, path: Path) -> dict[str, str]:
        content = load_json(path, self.docs_page)
        if not isinstance(content, dict) or not content:
            raise ValueError(f"{path}: expected a JSON object of image name to path, with at least one image")
        paths = {}
        for name, relative in content.items():
            if not isinstance(relative, str):
                raise ValueError(f"{path}, key {name!r}: expected a relative path, found {relative!r:.80}")
            try:
                paths[name] = safe_relative(relative)
            except ValueError as error:
                raise ValueError(f"{path}, key {name!r}: {error}") from None
        return paths


class CIRR(TripletSource):
    """CIRR on disk, as a `TripletSource`. `test` means the official split `test1`, whose answers are hidden.

    `protocol="official"`: the gallery is every image of the split, without the query's own reference. `"good4cir"`: on
    val, the gallery of that paper's script, the union of references and targets with the reference kept. The two are
    not comparable. The test split is always official.
    """

    name = "cirr"
    docs_page = "docs/cirr.md"
    splits: tuple[str, ...] = ("train", "val", "test")
    published_counts: Mapping[str, tuple[int, int]] = MappingProxyType(
        {"train": (28_225, 16_939), "val": (4_181, 2_297), "test": (4_148, 2_315)}
    )
    submission_format: str | None = "diptych.submission.cirr.CIRRFormat"
    _text_key = "caption"

    def __init__(self, root: str | Path, protocol: str = "official") -> None:
        if protocol not in ("official", "good4cir"):
            raise ValueError(f"data protocol {protocol!r} is not known for CIRR; choose official or good4cir")
        self.root = Path(root)
        self._good4cir = protocol == "good4cir"
        self._files = CIRRFiles(self.root, self.docs_page)
        self._queries: dict[str, list[Query]] = {}

    def triplets(self, split: str) -> list[Triplet]:
        """Training records of train or val.

        Raises:
            ValueError: the split is test, whose targets are not published; or as `queries`.
        """
        triplets = []
        for query in self.queries(split):
            if query.target_image is None:
                raise ValueError("CIRR's test split has no targets, so it has no triplets; train on train or val")
            image_set = " ".join(query.group_member_ids)  # in the same order in every record of the set
            triplets.append(
                Triplet(query.query_id, query.reference_image, (query.text,), query.target_image, group=image_set)
            )
        return triplets

    def queries(self, split: str) -> list[Query]:
        """Evaluation records; the text is the caption as written (one of test1's is a single blank).

        Raises:
            ValueError: a file is absent or a record breaks the format; names both and the key.
        """
        split = self._check(split)
        if split not in self._queries:
            path = self._captions_file(split)
            known = self._files.split_paths(split)
            records = self._read(path)
            queries = [
                _query(record, self._query_id(record, position), known, self._text_key, hidden=split == "test")
                for position, record in enumerate(records)
            ]
            unique_queries(queries, path)
            self._queries[split] = queries
        return self._queries[split]

    def gallery(self, split: str) -> list[GalleryImage]:
        """The images that the protocol searches, in the order of the split file, or of first use for good4cir."""
        split = self._check(split)
        if not self._uses_good4cir(split):
            return self._files.gallery(split)
        used = (
            image for query in self.queries(split) for image in (query.reference_image, query.target_image) if image
        )
        return [GalleryImage(name, self._files.image_path(split, name)) for name in in_order(used)]

    def protocol(self, split: str) -> EvaluationProtocol:
        """`cirr_val` or `cirr_test1`, and `cirr_val_good4cir` where that was asked for."""
        split = self._check(split)
        if self._uses_good4cir(split):
            return EvaluationProtocol(
                name=f"cirr_{split}_good4cir",
                version=1,
                gallery=f"references and targets of the queries of cap.rc2.{split}.json",
                exclude_reference=False,
                text_template="{caption}",
                caption_joining="one caption a query",
                recall_ks=(1, 5, 10, 50, 100),
            )
        return EvaluationProtocol(
            name=f"cirr_{FILE_SPLITS[split]}",
            version=1,
            gallery=f"all images of split.rc2.{FILE_SPLITS[split]}.json",
            exclude_reference=True,
            text_template="{caption}",
            caption_joining="one caption a query",
            recall_ks=(1, 5, 10, 50),
            subset_ks=(1, 2, 3),
            primary_metric="average",
            average_of=("recall_at_5", "recall_subset_at_1"),
            answers_hidden=split == "test",
        )

    def image_path(self, split: str, image_id: str) -> Path:
        """The file of a named image of the split.

        Raises:
            ValueError: the split file does not list the name.
        """
        return self._files.image_path(self._check(split), image_id)

    def _captions_file(self, split: str) -> Path:
        return self._files.annotations() / "captions" / f"cap.rc2.{FILE_SPLITS[split]}.json"

    def _read(self, path: Path) -> list[Record]:
        return load_records(path, self.docs_page, identified_by="pairid")

    def _query_id(self, record: Record, position: int) -> str:
        return str(record.integer("pairid"))

    def _uses_good4cir(self, split: str) -> bool:
        return self._good4cir and split != "test"

    def _check(self, split: str) -> str:
        return check_split("test" if split == "test1" else split, self.splits, "CIRR")


def _query(record: Record, query_id: str, known: dict[str, str], text_key: str, hidden: bool) -> Query:
    reference = record.name("reference")
    target = None if hidden else record.name("target_hard")
    members = record.record("img_set").names("members")
    if len(members) != _SET_SIZE:
        raise record.error(f"img_set.members must name {_SET_SIZE} images, found {len(members)}")
    for key, image in (("reference", reference), ("target_hard", target), *(("img_set.members", m) for m in members)):
        if image is None:
            continue
        if image not in known:
            raise record.error(f"key {key!r} names {image!r}, which is not in the split's list of images")
        if image not in members:
            raise record.error(f"key {key!r} names {image!r}, which is not among img_set.members")
    return Query(
        query_id=query_id,
        reference_image=reference,
        text=record.text(text_key),
        target_image=target,
        relevant_ids=() if target is None else (target,),
        group_member_ids=members,
    )

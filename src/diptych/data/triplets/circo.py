"""CIRCO: zero-shot composed retrieval among COCO's unlabelled photos, several right answers (Baldrati et al., 2023).

Image ids are COCO's integers as text; query ids the record's `id` as text. There is no training split.
"""

from __future__ import annotations

import string
from pathlib import Path
from types import MappingProxyType

from diptych.contracts.retrieval import EvaluationProtocol, GalleryImage, Query, Triplet, TripletSource
from diptych.data.annotations import (
    Record,
    check_split,
    load_json,
    load_records,
    resolve_inside,
    unique_queries,
)
from diptych.storage.presence import require_folder

_TEXT_KEYS = ("relative_caption", "shared_concept")


class CIRCO(TripletSource):
    """CIRCO on disk, as a `TripletSource` with the splits val and test (whose answers are hidden).

    Papers differ in two things, so both are arguments and stand in the protocol: whether the query's reference is taken
    out of its ranking, and the text. The defaults are good4cir's: kept, and the relative caption alone.
    `text_template` may name `{relative_caption}` and `{shared_concept}`.

    Queries need `annotations/<split>.json` only, so that a prediction file is scored without the pictures. Where
    COCO's list of images is there as well, every id of a query must be in it.
    """

    name = "circo"
    docs_page = "docs/circo.md"
    splits = ("val", "test")
    published_counts = MappingProxyType({"val": (220, 123_403), "test": (800, 123_403)})
    submission_format = "diptych.submission.circo.CIRCOFormat"

    def __init__(
        self, root: str | Path, exclude_reference: bool = False, text_template: str = "{relative_caption}"
    ) -> None:
        self.root = Path(root)
        self._exclude_reference = exclude_reference
        self._text_template = _checked_template(text_template)
        self._queries: dict[str, list[Query]] = {}
        self._file_names: dict[str, str] | None = None

    @property
    def image_info(self) -> Path:
        """COCO's list of the gallery images."""
        return self.root / "COCO2017_unlabeled" / "annotations" / "image_info_unlabeled2017.json"

    def triplets(self, split: str) -> list[Triplet]:
        """Always an error: CIRCO is for evaluation.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"CIRCO has no training split (asked for {split!r}); train on cirr, cirr_rewritten or hotel_cir and"
            " evaluate with data=circo"
        )

    def queries(self, split: str) -> list[Query]:
        """Evaluation records with the rendered text, all ground truths and the semantic aspects.

        Raises:
            ValueError: the file is absent or a record breaks the format; names the record and the key.
        """
        check_split(split, self.splits, "CIRCO")
        if split not in self._queries:
            require_folder(self.root, "CIRCO", self.docs_page)
            path = self.root / "annotations" / f"{split}.json"
            known = self.image_file_names() if self.image_info.is_file() else None
            records = load_records(path, self.docs_page, identified_by="id")
            queries = [self._query(record, split == "test", known) for record in records]
            unique_queries(queries, path)
            self._queries[split] = queries
        return self._queries[split]

    def gallery(self, split: str) -> list[GalleryImage]:
        """COCO's 123,403 unlabelled images, in the order of their list; the same for both splits."""
        check_split(split, self.splits, "CIRCO")
        folder = self._image_folder()
        return [
            GalleryImage(image_id, resolve_inside(folder, name)) for image_id, name in self.image_file_names().items()
        ]

    def protocol(self, split: str) -> EvaluationProtocol:
        """`circo_val` or `circo_test`, with the text and the exclusion as constructed."""
        check_split(split, self.splits, "CIRCO")
        return EvaluationProtocol(
            name=f"circo_{split}",
            version=1,
            gallery="all images of image_info_unlabeled2017.json",
            exclude_reference=self._exclude_reference,
            text_template=self._text_template,
            caption_joining="one caption a query",
            recall_ks=(5, 10, 25, 50),
            map_ks=(5, 10, 25, 50),
            primary_metric="map_at_5",
            aspect_metrics=("map_at_10",),
            answers_hidden=split == "test",
        )

    def image_path(self, split: str, image_id: str) -> Path:
        """The file of an image by its id.

        Raises:
            ValueError: COCO's list is absent or does not hold the id.
        """
        check_split(split, self.splits, "CIRCO")
        names = self.image_file_names()
        if image_id not in names:
            raise ValueError(f"{self.image_info}: no image has the id {image_id!r}")
        return resolve_inside(self._image_folder(), names[image_id])

    def image_file_names(self) -> dict[str, str]:
        """Image id to file name, in the order of COCO's list.

        Raises:
            ValueError: the list is absent, not in COCO's format, or repeats an id.
        """
        if self._file_names is None:
            require_folder(self.root, "CIRCO", self.docs_page)
            self._file_names = self._read_image_info()
        return self._file_names

    def _read_image_info(self) -> dict[str, str]:
        path = self.image_info
        content = load_json(path, self.docs_page)
        images = content.get("images") if isinstance(content, dict) else None
        if not isinstance(images, list) or not images:
            raise ValueError(f"{path}: expected COCO's format, an object whose key 'images' lists at least one image")
        names: dict[str, str] = {}
        for index, image in enumerate(images):
            where = f"{path}, images[{index}]"
            if not isinstance(image, dict):
                raise ValueError(f"{where}: expected an object with the keys id and file_name")
            record = Record(where, image)
            image_id = str(record.integer("id"))
            if image_id in names:
                raise record.error(f"image id {image_id} occurs twice")
            names[image_id] = record.name("file_name")
        return names

    def _image_folder(self) -> Path:
        # ConText-CIR unpacks the same photos under data/.
        folders = [self.root / "COCO2017_unlabeled" / name for name in ("unlabeled2017", "data")]
        return next((folder for folder in folders if folder.is_dir()), folders[0])

    def _query(self, record: Record, hidden: bool, known: dict[str, str] | None) -> Query:
        reference = str(record.integer("reference_img_id"))
        target = None if hidden else str(record.integer("target_img_id"))
        relevant = () if hidden else tuple(str(image) for image in record.integers("gt_img_ids"))
        if target is not None and target not in relevant:
            raise record.error(f"target_img_id {target} is not among gt_img_ids")
        if reference in relevant:
            raise record.error(f"reference_img_id {reference} is among its own gt_img_ids")
        for image in (reference, *relevant):
            if known is not None and image not in known:
                raise record.error(f"image {image} is not in {self.image_info}")
        return Query(
            query_id=str(record.integer("id")),
            reference_image=reference,
            text=self._text_template.format(**{key: record.text(key) for key in _TEXT_KEYS}),
            target_image=target,
            relevant_ids=relevant,
            aspects=() if hidden else record.names("semantic_aspects"),
        )


def _checked_template(template: str) -> str:
    try:
        fields = [(field, spec, conversion) for _, field, spec, conversion in string.Formatter().parse(template)]
    except ValueError as error:
        raise ValueError(f"text_template {template!r} is not a format string: {error}") from None
    named = [field for field, _, _ in fields if field is not None]
    if not named or any(field not in _TEXT_KEYS for field in named) or any(spec or conv for _, spec, conv in fields):
        raise ValueError(
            f"text_template {template!r} must use {{relative_caption}} and may use {{shared_concept}} only"
        )
    return template

"""GeneCIS: which of ten or fifteen images is meant, by an image and one word (Vaze, Carion and Misra, CVPR 2023).

One source is one of the four tasks. Every query ranks candidates of its own and nothing else. The object tasks show
COCO's val2017, whose numbers are the image ids; the attribute tasks show single objects, cut out of Visual Genome, and
an id is the picture's number and the object's box: `2373241_0_182.5_500_148.5`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from diptych.contracts.retrieval import EvaluationProtocol, GalleryImage, Query, Triplet, TripletSource
from diptych.data.annotations import Record, check_split, in_order, load_records, resolve_inside
from diptych.data.triplets.object_crops import Crop, cut_out
from diptych.storage.presence import require_folder

log = logging.getLogger(__name__)

TASKS = ("focus_attribute", "change_attribute", "focus_object", "change_object")
_CROPS = "crops"


class GeneCIS(TripletSource):
    """One task of GeneCIS on disk, as a `TripletSource` named after the task; the only split is val.

    As in the published evaluation a query's candidates are its target and its `gallery`, the reference is taken out of
    nothing, and the text is the record's `condition`. A candidate that a record names twice is one candidate here, and
    the log says how many there are.
    """

    docs_page = "docs/genecis.md"
    query_ids = "change_object-0 is the first record of genecis/change_object.json, and so on for the other three"
    splits = ("val",)
    writes: ClassVar[Mapping[str, str]] = {"root": "genecis/*.json"}  # the crops

    def __init__(self, root: str | Path, task: str) -> None:
        if task not in TASKS:
            raise ValueError(f"GeneCIS has no task {task!r}; choose one of {', '.join(TASKS)}")
        self.root, self.name = Path(root), task
        self._shows_objects = task.endswith("attribute")
        self._images: dict[str, Crop | None] = {}
        self._queries: list[Query] | None = None

    @property
    def _records_file(self) -> Path:
        return self.root / "genecis" / f"{self.name}.json"

    @property
    def _pictures(self) -> Path:
        return self.root / "VG_100K_all"

    def prepare(self) -> None:
        """For an attribute task, cuts the objects out of their pictures (minutes, with a progress bar) where that is
        not done; what a killed process has cut stays.

        Raises:
            ValueError: as `queries`; or pictures of Visual Genome are missing, damaged, or smaller than a box says.
        """
        if not self._shows_objects or not self._records_file.is_file() or not self._pictures.is_dir():
            return  # what is missing altogether is said where it is read: other tasks may be all that is wanted
        self.queries("val")
        wanted = {self._path(image_id): crop for image_id, crop in self._images.items() if crop is not None}
        cut_out(wanted, self._pictures, self.root / _CROPS, self.docs_page)

    def triplets(self, split: str) -> list[Triplet]:
        """Always an error: GeneCIS is for evaluation.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"GeneCIS has no training split (asked for {split!r}); train on cirr, lasco or hotel_cir and evaluate with"
            " data=genecis"
        )

    def queries(self, split: str) -> list[Query]:
        """Evaluation records; the group is all that a query ranks, its target first.

        Raises:
            ValueError: the file is absent or a record breaks the format; names the record and the key.
        """
        check_split(split, self.splits, "GeneCIS")
        if self._queries is None:
            require_folder(self.root, "GeneCIS", self.docs_page)
            records = load_records(self._records_file, self.docs_page)
            self._queries = [self._query(record, position) for position, record in enumerate(records)]
            named = sum(1 + len(record.data["gallery"]) for record in records)
            if twice := named - sum(len(query.group_member_ids) for query in self._queries):
                log.warning(
                    "%s: %d candidates are named twice by one record; each counts once", self._records_file, twice
                )
        return self._queries

    def gallery(self, split: str) -> list[GalleryImage]:
        """The candidates of all queries, in the order of first use."""
        candidates = in_order(image for query in self.queries(split) for image in query.group_member_ids)
        return [GalleryImage(image, self._path(image)) for image in candidates]

    def protocol(self, split: str) -> EvaluationProtocol:
        """`genecis_<task>`: recall at 1, 2 and 3 among a query's own candidates."""
        check_split(split, self.splits, "GeneCIS")
        return EvaluationProtocol(
            name=f"genecis_{self.name}",
            version=1,
            gallery=f"for each query its own candidates in {self.name}.json",
            exclude_reference=False,
            text_template="{condition}",
            caption_joining="one condition a query",
            recall_ks=(1, 2, 3),
            candidates="group",
        )

    def image_path(self, split: str, image_id: str) -> Path:
        """The file of a picture, or of the object that was cut out of one.

        Raises:
            ValueError: no record names the id.
        """
        self.queries(split)
        if image_id not in self._images:
            raise ValueError(f"{self._records_file}: no record names the image {image_id!r}")
        return self._path(image_id)

    def _path(self, image_id: str) -> Path:
        if self._shows_objects:
            if not (self.root / _CROPS).is_dir() and not self._pictures.is_dir():
                raise ValueError(
                    f"{self._pictures} is not there, with the pictures that {self.name} cuts objects out of;"
                    f" {self.docs_page} says how to get them"
                )
            return resolve_inside(self.root / _CROPS, f"{image_id}.png")
        return resolve_inside(self.root / "val2017", f"{int(image_id):012d}.jpg")

    def _query(self, record: Record, position: int) -> Query:
        reference, target = (self._image(record.record(key)) for key in ("reference", "target"))
        others = [
            self._image(Record(f"{record.where}, gallery[{number}]", image))
            for number, image in enumerate(record.objects("gallery"))
        ]
        if set(others) <= {target}:
            raise record.error("key 'gallery' names no image but the target: there is nothing to choose from")
        return Query(
            query_id=f"{self.name}-{position}",
            reference_image=reference,
            text=record.name("condition"),
            target_image=target,
            relevant_ids=(target,),
            group_member_ids=tuple(in_order([target, *others])),
        )

    def _image(self, record: Record) -> str:
        if not self._shows_objects:
            image_id, crop = _number(record, "val_image_id"), None
        else:
            picture, box = _number(record, "image_id"), _box(record)
            image_id, crop = "_".join((picture, *map(_short, box))), Crop(f"{picture}.jpg", box)
        self._images[image_id] = crop
        return image_id


def _number(record: Record, key: str) -> str:
    """A picture's number, which the files have as an integer (COCO) or as text (Visual Genome)."""
    value = record.data.get(key)
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        return str(int(value))
    number = record.integer(key)
    if number < 0:
        raise record.error(f"key {key!r} must be the number of a picture, found {number}")
    return str(number)


def _box(record: Record) -> tuple[float, float, float, float]:
    """Left, top, width and height in pixels."""
    box = record.data.get("instance_bbox")
    numbers = [
        float(value)
        for value in (box if isinstance(box, list) else ())
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    ]
    if not isinstance(box, list) or len(numbers) != 4 or len(box) != 4 or min(numbers[2:]) <= 0:
        raise record.error(
            f"key 'instance_bbox' must be the four numbers left, top, width and height, found {box!r:.80}"
        )
    left, top, width, height = numbers
    return left, top, width, height


def _short(value: float) -> str:
    return repr(value).removesuffix(".0")

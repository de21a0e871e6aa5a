"""Hotel-CIR: hotel rooms with several sentences of difference, published with good4cir. Rooms has the same layout.

Image ids are the last three segments of the published location, `<d1>/<d2>/<file>.jpg`. The published
files have no query id: `hotel-<position in the file>` takes its place. Files that annotate_triplets has written
(layout=hotel_cir) name the annotated pair, `pair_id`, and its `group`.
"""

from __future__ import annotations

import logging
from pathlib import Path

from diptych.contracts.retrieval import EvaluationProtocol, GalleryImage, Query, Triplet, TripletSource
from diptych.data.annotations import (
    Record,
    check_split,
    ids_of_pairs,
    in_order,
    load_records,
    resolve_inside,
    unique_queries,
)
from diptych.storage.presence import require_folder
from diptych.storage.relative_paths import safe_relative

log = logging.getLogger(__name__)

_IMAGE_FOLDERS = {"train": "train", "val": "val_test", "test": "val_test"}


class HotelCIR(TripletSource):
    """Hotel-CIR on disk, as a `TripletSource`.

    The defaults are good4cir's protocol: the gallery is the union of the split's references and targets, in the order
    of first use, and the query's reference stays in its ranking. `exclude_reference` takes it out; `use_distractors`
    adds the records' distractors to the gallery. Both stand in the protocol. `name` tells two sources of one set apart,
    as when it is evaluated by both protocols.

    `difference` may be one string or a list of sentences; a query joins a list with blanks. Records without one are
    left out and their number is logged. The aspect `changes_<n>` counts the sentences of a list, or the objects in
    the record's optional list `changes`. Where these have an `attribute`, as in rooms, each kind among them is an
    aspect too: `changed_colour`, once for a record, however often it occurs in it.
    """

    name = "hotel_cir"
    docs_page = "docs/hotel_cir.md"
    query_ids = "hotel-0 is the first record of captions/hotel_<split>_data.json, hotel-1 the second, and so on"
    splits = ("train", "val", "test")

    def __init__(
        self,
        root: str | Path,
        exclude_reference: bool = False,
        use_distractors: bool = False,
        name: str | None = None,
    ) -> None:
        self.root, self.name = Path(root), name or type(self).name
        self._exclude_reference = exclude_reference
        self._use_distractors = use_distractors
        self._records: dict[str, list[tuple[Triplet, tuple[str, ...]]]] = {}

    def triplets(self, split: str) -> list[Triplet]:
        """The records in file order, with every wording and the distractors.

        Raises:
            ValueError: the file is absent, a record breaks the format, or none is left.
        """
        return [triplet for triplet, _ in self._read(split)]

    def queries(self, split: str) -> list[Query]:
        """The same records for evaluation: the text is every sentence, joined with blanks."""
        return [
            Query(
                query_id=triplet.query_id,
                reference_image=triplet.reference_image,
                text=" ".join(triplet.modification_texts),
                target_image=triplet.target_image,
                relevant_ids=(triplet.target_image,),
                aspects=aspects,
                distractors=triplet.distractors,
            )
            for triplet, aspects in self._read(split)
        ]

    def gallery(self, split: str) -> list[GalleryImage]:
        """References and targets in the order of first use, then the distractors if they were asked for."""
        triplets = self.triplets(split)
        images = [image for triplet in triplets for image in (triplet.reference_image, triplet.target_image)]
        if self._use_distractors:
            images += [image for triplet in triplets for image in triplet.distractors]
        return [GalleryImage(image, self.image_path(split, image)) for image in in_order(images)]

    def protocol(self, split: str) -> EvaluationProtocol:
        """`hotel_cir_<split>`, with gallery and exclusion as constructed."""
        check_split(split, self.splits, "Hotel-CIR")
        distractors = ", and their distractors" if self._use_distractors else ""
        return EvaluationProtocol(
            name=f"{self.name}_{split}",
            version=1,
            gallery=f"references and targets of hotel_{split}_data.json{distractors}",
            exclude_reference=self._exclude_reference,
            text_template="{difference}",
            caption_joining="all sentences, joined with blanks",
            recall_ks=(1, 5, 10, 50, 100),
            aspect_metrics=("recall_at_1",),
        )

    def image_path(self, split: str, image_id: str) -> Path:
        """The file of an image of the split, `images/train/<id>` or `images/val_test/<id>`."""
        check_split(split, self.splits, "Hotel-CIR")
        return resolve_inside(self.root / "images" / _IMAGE_FOLDERS[split], image_id)

    def _read(self, split: str) -> list[tuple[Triplet, tuple[str, ...]]]:
        check_split(split, self.splits, "Hotel-CIR")
        if split not in self._records:
            require_folder(self.root, "Hotel-CIR", self.docs_page)
            path = self.root / "captions" / f"hotel_{split}_data.json"
            records = load_records(path, self.docs_page)
            pairs = [_pair(record, name) for record, name in zip(records, ids_of_pairs(records, "hotel"), strict=True)]
            unique_queries([triplet for triplet, _ in pairs], path)
            kept = [(triplet, aspects) for triplet, aspects in pairs if triplet.modification_texts]
            if not kept:
                raise ValueError(f"{path}: no record has a text under 'difference'")
            if len(kept) < len(pairs):
                log.warning("%s: left out %d records without a text", path, len(pairs) - len(kept))
            self._records[split] = kept
        return self._records[split]


def _pair(record: Record, query_id: str) -> tuple[Triplet, tuple[str, ...]]:
    reference = _image_id(record, "query_image", record.name("query_image"))
    triplet = Triplet(
        query_id=query_id,
        reference_image=reference,
        modification_texts=record.wordings("difference"),
        target_image=_image_id(record, "result_image", record.name("result_image")),
        group=record.name("group") if "group" in record else reference.rpartition("/")[0],
        distractors=tuple(_image_id(record, "distractors", value) for value in record.names("distractors")),
    )
    aspects: tuple[str, ...] = ()
    if "changes" in record:
        changes = [Record(f"{record.where}, key 'changes'", change) for change in record.objects("changes")]
        kinds = dict.fromkeys(change.name("attribute") for change in changes if "attribute" in change)
        aspects = (f"changes_{len(changes)}", *(f"changed_{kind}" for kind in kinds))
    elif isinstance(record.data["difference"], list):
        aspects = (f"changes_{len(triplet.modification_texts)}",)
    return triplet, aspects


def _image_id(record: Record, key: str, location: str) -> str:
    """The last three segments of a URL or path."""
    written = location.split("#")[0].split("?")[0].split("/")
    segments = [segment for segment in written if segment != "."][-3:]
    try:
        if len(segments) < 3 or not all(segments):
            raise ValueError(f"{location!r} does not end in <folder>/<folder>/<file>")
        return safe_relative("/".join(segments))
    except ValueError as error:
        raise record.error(f"key {key!r}: {error}") from None

"""CIRR_R: CIRR's pairs with the captions that good4cir's pipeline wrote anew. They lie in a CIRR folder.

Image ids are CIRR's names. The published file has no query id: `cirr_r-<position in the file>` takes its place. A file
that annotate_triplets has written (layout=cirr_rewritten) has CIRR's `pairid` as `pair_id`.
"""

from __future__ import annotations

import logging
from pathlib import Path

from diptych.contracts.retrieval import EvaluationProtocol, GalleryImage, Query, Triplet, TripletSource
from diptych.data.annotations import Record, check_split, ids_of_pairs, load_records, unique_queries
from diptych.data.triplets.cirr import FILE_SPLITS, CIRRFiles

log = logging.getLogger(__name__)


class CIRRRewritten(TripletSource):
    """The rewritten captions on disk, as a `TripletSource`; `test` pairs with CIRR's image list `test1`.

    A record's captions may be one string or a list; a query joins a list with blanks. The set does not cover every
    pair of CIRR. Records that name an image outside CIRR's split, or hold no caption, are left out and their number is
    logged. There are no six look-alikes, so the subset metrics are not defined here.
    """

    name = "cirr_rewritten"
    docs_page = "docs/cirr.md"
    query_ids = "cirr_r-0 is the first record of the split's rewritten captions, cirr_r-1 the second, and so on"
    splits = ("train", "val", "test")

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._files = CIRRFiles(self.root, self.docs_page)
        self._triplets: dict[str, list[Triplet]] = {}

    def triplets(self, split: str) -> list[Triplet]:
        """The records, in file order, each with all its wordings.

        Raises:
            ValueError: the file is absent, a record breaks the format, or none is left.
        """
        split = self._check(split)
        if split not in self._triplets:
            self._triplets[split] = self._read(split)
        return self._triplets[split]

    def queries(self, split: str) -> list[Query]:
        """The same records for evaluation: the text is every wording, joined with blanks."""
        return [
            Query(
                query_id=triplet.query_id,
                reference_image=triplet.reference_image,
                text=" ".join(triplet.modification_texts),
                target_image=triplet.target_image,
                relevant_ids=(triplet.target_image,),
            )
            for triplet in self.triplets(split)
        ]

    def gallery(self, split: str) -> list[GalleryImage]:
        """Every image of CIRR's split, in the order of its file."""
        return self._files.gallery(self._check(split))

    def protocol(self, split: str) -> EvaluationProtocol:
        """CIRR's gallery and exclusion, on rewritten captions: not comparable with CIRR's numbers."""
        split = self._check(split)
        return EvaluationProtocol(
            name=f"cirr_rewritten_{split}",
            version=1,
            gallery=f"all images of split.rc2.{FILE_SPLITS[split]}.json",
            exclude_reference=True,
            text_template="{difference_captions}",
            caption_joining="all wordings, joined with blanks",
            recall_ks=(1, 5, 10, 50),
        )

    def image_path(self, split: str, image_id: str) -> Path:
        """The file of a named image of CIRR's split.

        Raises:
            ValueError: the split file does not list the name.
        """
        return self._files.image_path(self._check(split), image_id)

    def _read(self, split: str) -> list[Triplet]:
        known = self._files.split_paths(split)
        path = self._captions_file(split)
        triplets, unknown, silent = [], [], 0
        records = load_records(path, self.docs_page)
        for query_id, record in zip(ids_of_pairs(records, "cirr_r"), records, strict=True):
            reference = _image_name(record, "query_image_url")
            target = _image_name(record, "retrieved_image_url")
            wordings = record.wordings("difference_captions")
            strangers = [name for name in (reference, target) if name not in known]
            unknown += strangers[:1]
            silent += not strangers and not wordings
            if wordings and not strangers:
                group = record.name("group") if "group" in record else ""
                triplets.append(Triplet(query_id, reference, wordings, target, group=group))
        if unknown:
            log.warning(
                "%s: left out %d records whose images are not in %s, the first: %s",
                path,
                len(unknown),
                self._files.split_file(split).name,
                unknown[0],
            )
        if silent:
            log.warning("%s: left out %d records without a caption", path, silent)
        if not triplets:
            raise ValueError(f"{path}: no record names two images of {self._files.split_file(split)} and has a caption")
        unique_queries(triplets, path)
        return triplets

    def _captions_file(self, split: str) -> Path:
        self._files.annotations()  # names what is missing if this is no CIRR folder
        for folder in (self.root, self.root / "cirr"):
            if (folder / "rewritten_captions").is_dir():
                return folder / "rewritten_captions" / f"rewritten_{split}.json"
        raise ValueError(f"{self.root / 'rewritten_captions'} is not there; {self.docs_page} says how to get it")

    def _check(self, split: str) -> str:
        return check_split("test" if split == "test1" else split, self.splits, "CIRR_R")


def _image_name(record: Record, key: str) -> str:
    """CIRR's name at the end of a URL: no folder, no query string, and `.png` removed as a suffix."""
    location = record.name(key).split("#")[0].split("?")[0]
    return location.rsplit("/", 1)[-1].removesuffix(".png")

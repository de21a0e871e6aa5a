"""FashionIQ: product photos of dresses, shirts and tops, two sentences a pair (Wu et al., CVPR 2021).

One source is one category, since each has its own gallery. Image ids are ASINs; the files have no query id, so
`<category>-<position in the file>` takes its place.
"""

from __future__ import annotations

import re
from pathlib import Path

from diptych.contracts.retrieval import EvaluationProtocol, GalleryImage, Query, Triplet, TripletSource
from diptych.data.annotations import (
    Record,
    check_split,
    first_repeated,
    in_order,
    load_json,
    load_records,
    resolve_inside,
)
from diptych.storage.presence import require_folder

# Pairs and images of the published splits.
_PUBLISHED = {
    "dress": {"train": (5_985, 11_452), "val": (2_017, 3_817), "test": (2_024, 3_818)},
    "shirt": {"train": (5_988, 19_036), "val": (2_038, 6_346), "test": (2_038, 6_346)},
    "toptee": {"train": (6_027, 16_121), "val": (1_961, 5_373), "test": (2_056, 5_374)},
}
_CATEGORIES = tuple(_PUBLISHED)
_COVR_WORDS = 30
_JOINING = {
    "original": "'C1 and c2': '.?, ' stripped from both ends of each, the first capitalised",
    "val_split": "'C1 and c2': '.?, ' stripped from both ends of each, the first capitalised",
    "covr": "'c1 and c2': lower case, the marks .!\"()*#:;~ blanked, at most 30 words",
}


class FashionIQ(TripletSource):
    """One category of FashionIQ on disk, as a `TripletSource` named after the category.

    `protocol` sets what papers do differently; their numbers are not comparable:
    `original` (CLIP4Cir): the gallery is the category's split file, the reference stays in the ranking;
    `val_split`: as original, but the gallery is only the references and targets of the split, which is easier;
    `covr`: the split file's gallery, the reference taken out, CoVR's cleaning of the text.
    """

    docs_page = "docs/fashioniq.md"
    query_ids = "dress-0 is the first record of captions/cap.dress.<split>.json, dress-1 the second, and so on"
    splits: tuple[str, ...] = ("train", "val", "test")

    def __init__(self, root: str | Path, category: str, protocol: str = "original") -> None:
        if category not in _CATEGORIES:
            raise ValueError(f"FashionIQ has no category {category!r}; choose one of {', '.join(_CATEGORIES)}")
        if protocol not in _JOINING:
            raise ValueError(f"data protocol {protocol!r} is not known for FashionIQ; choose {', '.join(_JOINING)}")
        self.root = Path(root)
        self.name, self.published_counts = category, _PUBLISHED[category]
        self._protocol = protocol
        self._png: set[str] | None = None
        self._images: dict[str, dict[str, None]] = {}
        self._pairs: dict[str, list[tuple[Query, tuple[str, ...]]]] = {}

    def triplets(self, split: str) -> list[Triplet]:
        """Training records of train or val; the wordings are the two captions, without one that is empty.

        Raises:
            ValueError: the split is test, whose targets are not published; or as `queries`.
        """
        triplets = []
        for query, wordings in self._read(split):
            if query.target_image is None:
                raise ValueError("FashionIQ's test split has no targets, so it has no triplets; train on train or val")
            triplets.append(Triplet(query.query_id, query.reference_image, wordings, query.target_image))
        return triplets

    def queries(self, split: str) -> list[Query]:
        """Evaluation records with the two captions joined as the protocol says.

        Raises:
            ValueError: a file is absent or a record breaks the format; names the record and the key.
        """
        return [query for query, _ in self._read(split)]

    def gallery(self, split: str) -> list[GalleryImage]:
        """The category's split file, in its order; or the pairs' images in the order of first use (`val_split`)."""
        if self._protocol != "val_split":
            return [GalleryImage(asin, self._path(asin)) for asin in self._split_images(split)]
        used: list[str] = []
        for query in self.queries(split):
            if query.target_image is None:
                raise ValueError("the gallery of protocol=val_split needs targets, which FashionIQ's test split hides")
            used += (query.reference_image, query.target_image)
        return [GalleryImage(asin, self._path(asin)) for asin in in_order(used)]

    def protocol(self, split: str) -> EvaluationProtocol:
        """`fashioniq_original`, `fashioniq_val_split` or `fashioniq_covr`; the gallery names category and split."""
        self._check(split)
        if self._protocol == "val_split":
            gallery = f"references and targets of the pairs of cap.{self.name}.{split}.json"
        else:
            gallery = f"all images of split.{self.name}.{split}.json"
        return EvaluationProtocol(
            name=f"fashioniq_{self._protocol}",
            version=1,
            gallery=gallery,
            exclude_reference=self._protocol == "covr",
            text_template="{captions}",
            caption_joining=_JOINING[self._protocol],
            recall_ks=(10, 50),
            primary_metric="average",
            average_of=("recall_at_10", "recall_at_50"),
            answers_hidden=split == "test",
        )

    def image_path(self, split: str, image_id: str) -> Path:
        """The file of an ASIN.

        Raises:
            ValueError: the split file does not list it.
        """
        if image_id not in self._split_images(split):
            raise ValueError(f"{self._split_file(split)}: no image is called {image_id!r}")
        return self._path(image_id)

    def _read(self, split: str) -> list[tuple[Query, tuple[str, ...]]]:
        self._check(split)
        if split not in self._pairs:
            self._pairs[split] = self._read_pairs(split, self._split_images(split))
        return self._pairs[split]

    def _read_pairs(self, split: str, known: dict[str, None]) -> list[tuple[Query, tuple[str, ...]]]:
        path = self.root / "captions" / f"cap.{self.name}.{split}.json"
        records = load_records(path, self.docs_page, identified_by="candidate")
        return [self._pair(record, position, known, hidden=split == "test") for position, record in enumerate(records)]

    def _pair(
        self, record: Record, position: int, known: dict[str, None], hidden: bool
    ) -> tuple[Query, tuple[str, ...]]:
        reference = self._image(record, "candidate", known)
        target = None if hidden else self._image(record, "target", known)
        captions = record.texts("captions")
        if len(captions) != 2:
            raise record.error(f"key 'captions' must hold two captions, found {len(captions)}")
        wordings = tuple(caption for caption in map(_strip, captions) if caption)
        if not wordings:
            raise record.error("both captions are empty")
        query = Query(
            query_id=f"{self.name}-{position}",
            reference_image=reference,
            text=_join_covr(captions) if self._protocol == "covr" else _join_clip4cir(captions),
            target_image=target,
            relevant_ids=() if target is None else (target,),
        )
        return query, wordings

    def _image(self, record: Record, key: str, known: dict[str, None]) -> str:
        asin = record.name(key)
        if asin not in known:
            raise record.error(f"key {key!r} names {asin!r}, which is not in the split's list of images")
        return asin

    def _split_file(self, split: str) -> Path:
        return self.root / "image_splits" / f"split.{self.name}.{split}.json"

    def _split_images(self, split: str) -> dict[str, None]:
        """The ASINs of the split in file order; a dict, for its order and its fast `in`."""
        self._check(split)
        if split not in self._images:
            require_folder(self.root, "FashionIQ", self.docs_page)
            path = self._split_file(split)
            asins = load_json(path, self.docs_page)
            if not isinstance(asins, list) or not asins or not all(isinstance(asin, str) for asin in asins):
                raise ValueError(f"{path}: expected a JSON list of image names, with at least one")
            repeated = first_repeated(asins)
            if repeated is not None:
                raise ValueError(f"{path}: image {repeated!r} occurs twice")
            self._images[split] = dict.fromkeys(asins)
        return self._images[split]

    def _path(self, asin: str) -> Path:
        folder = self.root / "images"
        if self._png is None:
            # Most copies hold .jpg, some .png: take what is there, and .jpg where neither is.
            names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
            self._png = {name[:-4] for name in names if name.endswith(".png") and f"{name[:-4]}.jpg" not in names}
        return resolve_inside(folder, f"{asin}.png" if asin in self._png else f"{asin}.jpg")

    def _check(self, split: str) -> None:
        check_split(split, self.splits, "FashionIQ")


def _strip(caption: str) -> str:
    return caption.strip(".?, ")


def _join_clip4cir(captions: tuple[str, ...]) -> str:
    first, second = map(_strip, captions)
    return f"{first.capitalize()} and {second}"


def _join_covr(captions: tuple[str, ...]) -> str:
    words = re.sub(r'[.!"()*#:;~]', " ", " and ".join(captions).lower()).split()
    return " ".join(words[:_COVR_WORDS])

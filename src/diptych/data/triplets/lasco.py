"""LaSCo: COCO's photos and texts that were made out of VQA 2.0's questions and answers (Levy et al., AAAI 2024).

Image ids are COCO's numbers as text. Query ids are the `qid`; the further records of one get -2, -3, ... behind it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from diptych.contracts.retrieval import EvaluationProtocol, GalleryImage, Query, Triplet, TripletSource
from diptych.data.annotations import Record, check_split, load_json, load_records, resolve_inside, unique_queries
from diptych.storage.presence import require_folder
from diptych.storage.relative_paths import safe_relative


class LaSCo(TripletSource):
    """LaSCo on disk, as a `TripletSource` with the splits train and val. The JSON files lie under the root, or in its
    `downloads/` as in the published repository; the photos in `train2014/` and `val2014/`.

    No evaluation code is published. Here the gallery is the published list of the split's images, and the query's
    reference stays in its ranking unless `exclude_reference` takes it out.
    """

    name = "lasco"
    docs_page = "docs/lasco.md"
    query_ids = "the published qid; of a qid that several records have, the second is <qid>-2, the third <qid>-3"
    splits = ("train", "val")

    def __init__(self, root: str | Path, exclude_reference: bool = False) -> None:
        self.root = Path(root)
        self._exclude_reference = exclude_reference
        self._queries: dict[str, list[Query]] = {}
        self._used: dict[str, dict[str, str]] = {}
        self._listed: dict[str, dict[str, str]] = {}

    def triplets(self, split: str) -> list[Triplet]:
        """The records in file order; needs no list of images.

        Raises:
            ValueError: as `queries`.
        """
        return [
            Triplet(query.query_id, query.reference_image, (query.text,), query.relevant_ids[0])
            for query in self.queries(split)
        ]

    def queries(self, split: str) -> list[Query]:
        """The same records for evaluation, the text as written.

        Raises:
            ValueError: the file is absent or a record breaks the format; names the record and the key.
        """
        check_split(split, self.splits, "LaSCo")
        if split not in self._queries:
            path = self._file(f"lasco_{split}.json")
            used: dict[str, str] = {}
            times: Counter[int] = Counter()
            queries = [
                _query(record, used, times) for record in load_records(path, self.docs_page, identified_by="qid")
            ]
            unique_queries(queries, path)
            self._queries[split], self._used[split] = queries, used
        return self._queries[split]

    def gallery(self, split: str) -> list[GalleryImage]:
        """The images of the published list, in its order."""
        return [GalleryImage(image_id, self._photo(path)) for image_id, path in self._images(split).items()]

    def protocol(self, split: str) -> EvaluationProtocol:
        """`lasco_<split>`, with the exclusion as constructed."""
        check_split(split, self.splits, "LaSCo")
        return EvaluationProtocol(
            name=f"lasco_{split}",
            version=1,
            gallery=f"all images of lasco_{split}_corpus.json",
            exclude_reference=self._exclude_reference,
            text_template="{query-text}",
            caption_joining="one text a query",
            recall_ks=(1, 5, 10, 50),
        )

    def image_path(self, split: str, image_id: str) -> Path:
        """The file of an image that a record of the split names, or the split's list.

        Raises:
            ValueError: neither does.
        """
        self.queries(split)
        path = self._used[split].get(image_id) or self._images(split).get(image_id)
        if path is None:
            raise ValueError(f"{self._file(f'lasco_{split}_corpus.json')}: no image has the id {image_id!r}")
        return self._photo(path)

    def _file(self, name: str) -> Path:
        require_folder(self.root, "LaSCo", self.docs_page)
        downloads = self.root / "downloads"
        return (downloads if downloads.is_dir() else self.root) / name

    def _photo(self, path: str) -> Path:
        return resolve_inside(self.root, path)

    def _images(self, split: str) -> dict[str, str]:
        """The published list, by id: an object of id and path for train, a list of records for val."""
        check_split(split, self.splits, "LaSCo")
        if split not in self._listed:
            path = self._file(f"lasco_{split}_corpus.json")
            content = load_json(path, self.docs_page)
            listed: dict[str, str] = {}
            for record in _entries(content, path):
                image_id = str(record.integer("id"))
                if image_id in listed:
                    raise record.error(f"image id {image_id} occurs twice")
                listed[image_id] = _photo_of(record, record.name("path"))
            if not listed:
                raise ValueError(f"{path}: no images in it")
            self._listed[split] = listed
        return self._listed[split]


def _entries(content: object, path: Path) -> Iterator[Record]:
    if isinstance(content, dict):
        for key, value in content.items():
            number = int(key) if key.isascii() and key.isdecimal() else key
            yield Record(f"{path}, key {key!r}", {"id": number, "path": value})
        return
    if not isinstance(content, list):
        raise ValueError(f"{path}: expected a JSON list of records, or an object of image id and path")
    for position, entry in enumerate(content):
        if not isinstance(entry, dict):
            raise ValueError(f"{path}, record {position}: expected an object with the keys id and path")
        yield Record(f"{path}, record {position}", entry)


def _query(record: Record, used: dict[str, str], times: Counter[int]) -> Query:
    """A record as a query; the paths of its images come into `used`, its `qid` into `times`."""
    qid = record.integer("qid")
    times[qid] += 1
    reference, target = (_image(record, key, used) for key in ("query-image", "target-image"))
    return Query(
        query_id=str(qid) if times[qid] == 1 else f"{qid}-{times[qid]}",
        reference_image=reference,
        text=record.text("query-text"),
        target_image=target,
        relevant_ids=(target,),
    )


def _image(record: Record, key: str, used: dict[str, str]) -> str:
    """The id of an image that stands in a record as its number and its path."""
    value = record.data.get(key)
    if not isinstance(value, list) or [type(part) for part in value] != [int, str]:
        raise record.error(f"key {key!r} must be a list of an image's number and its path, found {value!r:.80}")
    image_id = str(value[0])
    if image_id not in used:
        used[image_id] = _photo_of(record, value[1])
    return image_id


def _photo_of(record: Record, path: str) -> str:
    """`val2014/COCO_val2014_000000028714.jpg`; one of the lists has another folder before it."""
    parts = path.split("/")[-2:]
    try:
        if len(parts) < 2 or parts[0] not in ("train2014", "val2014") or not parts[1]:
            raise ValueError(f"{path!r} does not end in train2014/<file> or val2014/<file>")
        return safe_relative("/".join(parts))
    except ValueError as error:
        raise record.error(str(error)) from None

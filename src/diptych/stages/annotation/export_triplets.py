"""Annotated pairs to a folder of triplets that `train.py` reads: `train.jsonl`, `images/` and `summary.json`; or the
same in another layout.
"""

from __future__ import annotations

import filecmp
import hashlib
import logging
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from diptych.annotation.fetching import FetchFailure, ImageFetcher
from diptych.annotation.layouts.layout import TripletLayout
from diptych.annotation.layouts.own_triplets import OwnTriplets
from diptych.annotation.reviews import Reviews, read_reviews
from diptych.contracts.pipelines import Failure, Result
from diptych.data.pairs.image_pairs import ImagePair, Pairs, read_pairs
from diptych.photos.image_urls import is_remote
from diptych.photos.picture_data import UnreadablePicture, read_bytes
from diptych.ranking.known_ids import KnownIds
from diptych.stages.annotation.fetch_images import FETCHED
from diptych.stages.running.manifest import FILE as MANIFEST
from diptych.stages.running.record_stage import RecordStage
from diptych.storage.json_files import read_json, write_json
from diptych.storage.json_shapes import Count
from diptych.storage.record_log import RecordFile, RecordLog
from diptych.storage.whole import whole_file

log = logging.getLogger(__name__)

SUMMARY, IMAGES = "summary.json", "images"
_REJECTED = "rejected"
# By the content, not the name: the same picture must not come under two names.
_SIGNATURES = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG", ".png"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"RIFF", ".webp"),
)


class ExportTriplets(RecordStage):
    """Writes the pairs that have texts (records of the combine stage) into the folder `out`, in the order of the pair
    file, as `layout` says: None is the form that docs/own_data.md describes, in which images are named by a hash of
    their content. Images are hard links, or copies where links cannot be made.

    `reviews` is a file of decisions (`annotation/reviews.py`): a rejected pair is left out, and so is every text that
    holds a rejected sentence. `stages` are the folders of other stages by name, whose counts go into `summary.json`.

    Remote images are fetched into `out/fetched` first; `private` is that of `ImageFetcher`. A pair fails as `no_texts`,
    `rejected`, `unreadable`, `identical_images`, or for the reasons of `FetchFailure`; and where the layout keeps the
    images' own names, as `no_name` or `same_name`.
    """

    record_key = "query_id"
    runtime_settings = ("pairs", "texts", "out", "reviews", "stages", "private")

    def __init__(
        self,
        pairs: str | Path,
        texts: str | Path,
        out: str | Path,
        reviews: str | Path | None = None,
        stages: Mapping[str, str | Path] | None = None,
        images_root: str | Path | None = None,
        layout: TripletLayout | None = None,
        private: bool = False,
    ) -> None:
        self.pairs, self.texts, self.out = Path(pairs), Path(texts), Path(out)
        self.reviews = None if reviews is None else Path(reviews)
        self.stages = {name: Path(folder) for name, folder in (stages or {}).items()}
        self.images_root, self.private = images_root, private
        self.layout = OwnTriplets() if layout is None else layout

    def input_files(self) -> Sequence[Path]:
        """Pairs, texts, reviews, and the other stages' manifests."""
        reviews = [] if self.reviews is None else [self.reviews]
        return [self.pairs, self.texts, *reviews, *(folder / MANIFEST for folder in self.stages.values())]

    def output_files(self) -> Sequence[Path]:
        """The triplets and the summary."""
        return [self.out / self.layout.file, self.out / SUMMARY]

    @cached_property
    def _read_pairs(self) -> Pairs:
        return read_pairs(self.pairs, self.images_root)

    @cached_property
    def _records(self) -> dict[str, dict[str, Any]]:
        return RecordLog(self.texts, "pair_id").read()

    @cached_property
    def _reviews(self) -> Reviews:
        if self.reviews is None:
            return Reviews({})
        reviews, known = read_reviews(self.reviews), KnownIds(self.ids())
        reviewed = [pair_id for pair_id, _ in reviews.decisions]
        if reviewed and known.ids.keys().isdisjoint(reviewed):
            raise ValueError(
                f"{self.reviews} is about other pairs, none of {self.pairs}: {known.say(reviewed)}; name the decisions "
                "on these pairs, or set reviews=null"
            )
        return reviews

    def ids(self) -> Sequence[str]:
        """All pairs, in file order."""
        return [pair.pair_id for pair in self._read_pairs.pairs]

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """The line of `train.jsonl` for each pair, with the layout's names of images. Reads every image that belongs to
        the set once, to know it by its content.
        """
        pairs = {pair.pair_id: pair for pair in self._read_pairs.pairs}
        wordings = {name: self._wordings(name) for name in ids}
        fetched: dict[str, Path | FetchFailure] = {}
        if self.layout.copies_images:
            wanted = dict.fromkeys(image for name in ids if wordings[name] for image in _images(pairs[name]))
            fetched = dict(ImageFetcher(self.out / FETCHED, private=self.private).fetch_all(filter(is_remote, wanted)))
        contents: dict[str, str] = {}
        for name in ids:
            yield self._triplet(pairs[name], wordings[name], fetched, contents)

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """Links the images, then writes triplets and summary, each in one step.

        Raises:
            ValueError: an image has gone since its pair was exported, or another picture is where it belongs.
        """
        pairs = {pair.pair_id: pair for pair in self._read_pairs.pairs}
        records = RecordFile(folder, self.record_key).records()
        if self.layout.copies_images:
            self._link_images((pairs[name], record) for name, record in records.items())
        path = self.out / self.layout.file
        self.layout.write(path, list(records.values()))
        write_json(self.out / SUMMARY, self._summary(records, failures), indent=1, ascii_only=False)
        images = f" with {self.out / IMAGES}" if self.layout.copies_images else ""
        log.info("%s: %d triplets%s", path, len(records), images)

    def _link_images(self, exported: Iterable[tuple[ImagePair, Mapping[str, Any]]]) -> None:
        """Puts the images of pairs where the layout wants them."""
        fetcher = ImageFetcher(self.out / FETCHED)
        (self.out / IMAGES).mkdir(parents=True, exist_ok=True)
        for pair, record in exported:
            for image, name in zip(_images(pair), (record["reference_image"], record["target_image"]), strict=True):
                place = self.out / self.layout.image_file(name)
                place.parent.mkdir(parents=True, exist_ok=True)
                file = fetcher.path(image) if is_remote(image) else Path(image)
                link_image(file, place, named_by_content=self.layout.image_name(image) is None)

    def _triplet(
        self,
        pair: ImagePair,
        wordings: Sequence[str],
        fetched: Mapping[str, Path | FetchFailure],
        contents: dict[str, str],
    ) -> Mapping[str, Any] | Failure:
        if not wordings:
            if pair.pair_id not in self._records:
                message = f"{self.texts} has no text for the pair; the failures.jsonl of the stages before say why"
                return Failure(pair.pair_id, "no_texts", message)
            return Failure(pair.pair_id, _REJECTED, f"{self.reviews} rejects the pair, or a sentence of each text")
        images = _images(pair)
        for image in images if self.layout.copies_images else ():
            file = fetched.get(image, image)
            if isinstance(file, FetchFailure):
                return Failure(pair.pair_id, file.reason, str(file))
            try:
                contents[image] = contents.get(image) or _content_name(Path(file))
            except UnreadablePicture as error:
                return Failure(pair.pair_id, "unreadable", str(error))
        if self.layout.copies_images and contents[images[0]] == contents[images[1]]:
            message = f"{images[0]} and {images[1]} have the same content; nothing has changed"
            return Failure(pair.pair_id, "identical_images", message)
        try:
            reference, target = (self.layout.image_name(image) or contents[image] for image in images)
        except ValueError as error:
            return Failure(pair.pair_id, "no_name", str(error))
        for name in (reference, target):
            if len(self._named.get(name, ())) > 1:
                message = (
                    f"{' and '.join(self._named[name][:2])} would both be called {name}; rename one, or its folder"
                )
                return Failure(pair.pair_id, "same_name", message)
        record = {"query_id": pair.pair_id, "reference_image": reference, "modification_texts": wordings}
        return {**record, "target_image": target, **({"group": pair.group} if pair.group else {})}

    @cached_property
    def _named(self) -> dict[str, list[str]]:
        """The images of all pairs by the layout's names, where it names them otherwise than by their content."""
        named: dict[str, list[str]] = {}
        for image in self._read_pairs.images:
            with suppress(ValueError):
                name = self.layout.image_name(image)
                if name is not None:
                    named.setdefault(name, []).append(image)
        return named

    def _wordings(self, pair_id: str) -> Sequence[str]:
        """What the set says of a pair."""
        accepted = self._accepted(pair_id)
        if not accepted:
            return []
        sentences, used = self._records[pair_id]["sentences"], {number for _, parts in accepted for number in parts}
        return self.layout.wordings([text for text, _ in accepted], [sentences[number] for number in sorted(used)])

    def _accepted(self, pair_id: str) -> list[tuple[str, Sequence[int]]]:
        """The pair's texts that no review speaks against, with the positions of their sentences."""
        record = self._records.get(pair_id)
        if record is None or self._reviews.rejects(pair_id):
            return []
        rejected = {
            number for number, sentence in enumerate(record["sentences"]) if self._reviews.rejects(pair_id, sentence)
        }
        texts = zip(record["texts"], record["parts"], strict=True)
        return [(text, parts) for text, parts in texts if rejected.isdisjoint(parts)]

    def _summary(self, records: Mapping[str, Mapping[str, Any]], failures: Sequence[Failure]) -> dict[str, Any]:
        dropped: Counter[str] = Counter()
        for name, record in self._records.items():
            dropped.update(record["dropped"])
            dropped[_REJECTED] += len(record["texts"]) - len(self._accepted(name))
        unknown = [decision for decision in self._reviews.decisions if not self._is_known(*decision)]
        if unknown:
            log.warning(
                "%s: %d decisions are about no sentence that there is, first %s", self.reviews, len(unknown), unknown[0]
            )
        stages = {name: _counts(folder) for name, folder in self.stages.items()}
        return {
            "triplets": len(records),
            "texts": sum(len(record["modification_texts"]) for record in records.values()),
            "images": len({record[key] for record in records.values() for key in ("reference_image", "target_image")}),
            "pairs": len(self._read_pairs.pairs),
            "duplicate_pairs": self._read_pairs.num_duplicates,
            "not_exported": dict(sorted(Counter(failure.reason for failure in failures).items())),
            "dropped_texts": dict(sorted((+dropped).items())),
            "reviews": {"decisions": len(self._reviews.decisions), "unknown": len(unknown)},
            "stages": stages,
        }

    def _is_known(self, pair_id: str, sentence: str | None) -> bool:
        record = self._records.get(pair_id)
        return record is not None and (sentence is None or sentence in record["sentences"])


def _images(pair: ImagePair) -> tuple[str, str]:
    return pair.reference_image, pair.target_image


def _counts(folder: Path) -> dict[str, Any]:
    content = read_json(folder / MANIFEST, shape={"done?": Count, "failed?": {str: Count}})
    return {"done": content.get("done") or 0, "failed": content.get("failed") or {}}


def _content_name(path: Path) -> str:
    data = read_bytes(path)
    suffix = next((suffix for signature, suffix in _SIGNATURES if data.startswith(signature)), ".img")
    return f"{IMAGES}/{hashlib.sha256(data).hexdigest()[:20]}{suffix}"


def link_image(source: Path, destination: Path, named_by_content: bool) -> None:
    """Puts an image in its place, which then holds all of it, or nothing.

    Raises:
        ValueError: it has gone, or another picture is there already.
    """
    if named_by_content and destination.exists():
        return
    try:
        real = source.resolve(strict=True)
        if destination.exists() and not filecmp.cmp(real, destination, shallow=False):
            raise ValueError(f"{destination} is another picture than {source}; export into another folder: out=FOLDER")
        with suppress(FileExistsError):
            os.link(real, destination)
        return
    except FileNotFoundError:
        raise ValueError(f"{source} has gone since it was exported; put it back, or remove its pairs") from None
    except OSError:  # another disk, or one without links
        with whole_file(destination) as temporary:
            shutil.copyfile(source, temporary)

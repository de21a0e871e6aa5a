"""Annotated pairs to a folder of triplets that `train.py` reads: `train.jsonl`, `images/` and `summary.json`."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from diptych.annotation.fetching import FetchFailure, ImageFetcher
from diptych.annotation.reviews import Reviews, read_reviews
from diptych.contracts.pipelines import Failure, Result
from diptych.data.pairs.image_pairs import ImagePair, Pairs, read_pairs
from diptych.photos.image_urls import is_remote
from diptych.stages.annotation.fetch_images import FETCHED
from diptych.stages.running.manifest import FILE as MANIFEST
from diptych.stages.running.record_stage import RecordStage
from diptych.storage.json_files import read_json, write_json
from diptych.storage.record_log import RecordFile, RecordLog
from diptych.storage.whole import whole_file

log = logging.getLogger(__name__)

TRIPLETS, SUMMARY, IMAGES = "train.jsonl", "summary.json", "images"
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
    """Writes the pairs that have texts (records of the combine stage) into the folder `out`, in the form that
    docs/own_data.md describes, in the order of the pair file. Images are hard links, or copies where links cannot be
    made, named by a hash of their content.

    `reviews` is a file of decisions (`annotation/reviews.py`): a rejected pair is left out, and so is every text that
    holds a rejected sentence. `stages` are the folders of other stages by name, whose counts go into `summary.json`.

    Remote images are fetched into `out/fetched` first. A pair fails as `no_texts`, `rejected`, `unreadable`,
    `identical_images`, or for the reasons of `FetchFailure`.
    """

    record_key = "query_id"
    runtime_settings = ("pairs", "texts", "out", "reviews", "stages")

    def __init__(
        self,
        pairs: str | Path,
        texts: str | Path,
        out: str | Path,
        reviews: str | Path | None = None,
        stages: Mapping[str, str | Path] | None = None,
        images_root: str | Path | None = None,
    ) -> None:
        self.pairs, self.texts, self.out = Path(pairs), Path(texts), Path(out)
        self.reviews = None if reviews is None else Path(reviews)
        self.stages = {name: Path(folder) for name, folder in (stages or {}).items()}
        self.images_root = images_root

    def input_files(self) -> Sequence[Path]:
        """Pairs, texts, reviews, and the other stages' manifests."""
        reviews = [] if self.reviews is None else [self.reviews]
        return [self.pairs, self.texts, *reviews, *(folder / MANIFEST for folder in self.stages.values())]

    def output_files(self) -> Sequence[Path]:
        """The triplets and the summary."""
        return [self.out / TRIPLETS, self.out / SUMMARY]

    @cached_property
    def _read_pairs(self) -> Pairs:
        return read_pairs(self.pairs, self.images_root)

    @cached_property
    def _records(self) -> dict[str, dict[str, Any]]:
        return RecordLog(self.texts, "pair_id").read()

    @cached_property
    def _reviews(self) -> Reviews:
        return Reviews({}) if self.reviews is None else read_reviews(self.reviews)

    def ids(self) -> Sequence[str]:
        """All pairs, in file order."""
        return [pair.pair_id for pair in self._read_pairs.pairs]

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """The line of `train.jsonl` for each pair. Reads every image once, to name it by its content."""
        pairs = {pair.pair_id: pair for pair in self._read_pairs.pairs}
        texts = {name: self._accepted(name) for name in ids}
        wanted = dict.fromkeys(image for name in ids if texts[name] for image in _images(pairs[name]))
        fetched = dict(ImageFetcher(self.out / FETCHED).fetch_all(filter(is_remote, wanted)))
        names: dict[str, str] = {}
        for name in ids:
            yield self._triplet(pairs[name], texts[name], fetched, names)

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """Links the images, then writes triplets and summary, each in one step.

        Raises:
            ValueError: an image has gone since its pair was exported.
        """
        pairs = {pair.pair_id: pair for pair in self._read_pairs.pairs}
        records = RecordFile(folder, self.record_key).records()
        fetcher = ImageFetcher(self.out / FETCHED)
        (self.out / IMAGES).mkdir(parents=True, exist_ok=True)
        for name, record in records.items():
            for key in ("reference_image", "target_image"):
                image = getattr(pairs[name], key)
                _link(fetcher.path(image) if is_remote(image) else Path(image), self.out / record[key])
        RecordLog(self.out / TRIPLETS).write(records.values())
        write_json(self.out / SUMMARY, self._summary(records, failures), indent=1, ascii_only=False)
        log.info("%s: %d triplets with %s", self.out / TRIPLETS, len(records), self.out / IMAGES)

    def _triplet(
        self,
        pair: ImagePair,
        texts: Sequence[str],
        fetched: Mapping[str, Path | FetchFailure],
        names: dict[str, str],
    ) -> Mapping[str, Any] | Failure:
        if not texts:
            if pair.pair_id not in self._records:
                message = f"{self.texts} has no text for the pair; the failures.jsonl of the stages before say why"
                return Failure(pair.pair_id, "no_texts", message)
            return Failure(pair.pair_id, _REJECTED, f"{self.reviews} rejects the pair, or a sentence of each text")
        images = _images(pair)
        for image in images:
            file = fetched.get(image, image)
            if isinstance(file, FetchFailure):
                return Failure(pair.pair_id, file.reason, str(file))
            try:
                names[image] = names.get(image) or _content_name(Path(file))
            except OSError as error:
                return Failure(pair.pair_id, "unreadable", f"{image} cannot be read: {error.strerror or error}")
        reference, target = (names[image] for image in images)
        if reference == target:
            message = f"{images[0]} and {images[1]} have the same content; nothing has changed"
            return Failure(pair.pair_id, "identical_images", message)
        record = {"query_id": pair.pair_id, "reference_image": reference, "modification_texts": texts}
        return {**record, "target_image": target, **({"group": pair.group} if pair.group else {})}

    def _accepted(self, pair_id: str) -> list[str]:
        """The pair's texts that no review speaks against."""
        record = self._records.get(pair_id)
        if record is None or self._reviews.rejects(pair_id):
            return []
        rejected = {
            number for number, sentence in enumerate(record["sentences"]) if self._reviews.rejects(pair_id, sentence)
        }
        return [
            text for text, parts in zip(record["texts"], record["parts"], strict=True) if rejected.isdisjoint(parts)
        ]

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
        stages = {name: _counts(folder / MANIFEST) for name, folder in self.stages.items()}
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


def _counts(manifest: Path) -> dict[str, Any]:
    content = read_json(manifest)
    return {"done": content.get("done", 0), "failed": content.get("failed", {})}


def _content_name(path: Path) -> str:
    data = path.read_bytes()
    suffix = next((suffix for signature, suffix in _SIGNATURES if data.startswith(signature)), ".img")
    return f"{IMAGES}/{hashlib.sha256(data).hexdigest()[:20]}{suffix}"


def _link(source: Path, destination: Path) -> None:
    """Puts an image in its place, which then holds all of it, or nothing."""
    if destination.exists():
        return
    try:
        real = source.resolve(strict=True)
        with suppress(FileExistsError):
            os.link(real, destination)
        return
    except FileNotFoundError:
        raise ValueError(f"{source} has gone since it was exported; put it back, or remove its pairs") from None
    except OSError:  # another disk, or one without links
        with whole_file(destination) as temporary:
            shutil.copyfile(source, temporary)

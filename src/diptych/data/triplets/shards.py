"""Training triplets in tar files of webdataset's layout: what their folder holds, and how it is read.

A triplet is the members `<key>.reference.<ext>`, `<key>.target.<ext>`, `<key>.distractor_<i>.<ext>` (the image files,
unchanged) and `<key>.json`:

    {"query_id", "modification_texts", "group", "source", "example",
     "images": [{"file", "id", "path", "name", "crc32"}, ...]}         the reference, the target, then the distractors

`example` is the triplet's position in the plain form; `file` the member without its key; `path` lies below the common
folder of all sources, and is the same for the same image; `name` is `triplet_dataset.short_name`. The manifest
`shards.json`, written last, lists the shards with their triplets and bytes.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from webdataset.tariterators import base_plus_ext, group_by_keys, tar_file_expander

from diptych.contracts.retrieval import Triplet
from diptych.storage.json_files import read_json
from diptych.storage.json_shapes import Count
from diptych.storage.json_values import json_value

FORMAT = 1  # of the folder and the records
MANIFEST = "shards.json"
CONVERSION = "conversion.json"  # there from the first moment: what is being written here
WRITE_AGAIN = "remove it and run the command that wrote the shards again: it writes only what is missing"


@dataclass(frozen=True, slots=True)
class Shard:
    """A tar file: its name in the folder, its number of triplets, and its size."""

    file: str
    triplets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image out of a shard: `data` are the file's bytes, `path` and `name` as the record has them, `origin` what
    errors call it.
    """

    path: str
    name: str
    data: bytes
    origin: str


@dataclass(frozen=True, slots=True)
class StoredTriplet:
    """A triplet out of a shard; `images` are the reference, the target, then the distractors."""

    triplet: Triplet
    source: str
    example: int
    images: tuple[StoredImage, ...]


class ShardFolder:
    """The shards that a conversion has written into `folder`; construction reads the manifest and the files' sizes.

    Raises:
        ValueError: the folder holds no finished conversion, or a shard is missing or has another size.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        manifest = _read_manifest(self.folder)
        self.key: str = manifest["key"]
        self.settings: dict[str, Any] = manifest["settings"]
        self.shards = [Shard(one["file"], one["triplets"], one["bytes"]) for one in manifest["shards"]]
        for shard in self.shards:
            path = self.folder / shard.file
            try:
                size = path.stat().st_size
            except OSError as error:
                raise ValueError(f"shard {path}: {error.strerror or error}; {WRITE_AGAIN}") from error
            if size != shard.bytes:
                raise ValueError(f"shard {path} has {size} bytes, {MANIFEST} says {shard.bytes}; {WRITE_AGAIN}")

    def read(self, number: int, first: int = 0) -> Iterator[StoredTriplet]:
        """The triplets of a shard from position `first` on; earlier ones are passed over without reading their images.

        Raises:
            ValueError: the shard is missing, truncated or damaged, or has another number of triplets than promised.
        """
        shard = self.shards[number]
        path, found = self.folder / shard.file, first
        try:
            with path.open("rb") as stream:
                stream.seek(_offset_of(stream, first))
                files = tar_file_expander([{"url": str(path), "stream": stream}])
                for sample in group_by_keys(files):
                    found += 1
                    yield _stored(sample, path)
        except OSError as error:
            raise ValueError(f"shard {path} cannot be read: {error.strerror or error}; {WRITE_AGAIN}") from error
        except (tarfile.TarError, EOFError) as error:  # webdataset appends objects to the arguments
            raise ValueError(f"shard {path} is truncated or damaged: {error.args[0]}; {WRITE_AGAIN}") from error
        if found != shard.triplets:
            raise ValueError(
                f"shard {path} is damaged: {found} triplets can be read, {MANIFEST} says {shard.triplets}; "
                f"{WRITE_AGAIN}"
            )


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        state = "its conversion is not finished: run" if (folder / CONVERSION).is_file() else "write shards with"
        raise ValueError(f"{folder} has no {MANIFEST}; {state} python -m diptych.shards ... output={folder}")
    found = read_json(path, WRITE_AGAIN, shape=dict).get("format")
    if found != FORMAT:
        raise ValueError(f"{path} has format {found!r:.40}, this version reads {FORMAT}; write it again")
    shard = {"file": str, "triplets": Count, "bytes": Count}
    manifest = read_json(path, WRITE_AGAIN, shape={"key": str, "settings": dict, "shards": [shard]})
    for name in (one["file"] for one in manifest["shards"]):
        if Path(name).name != name:
            raise ValueError(f"{path}: the shard {name!r:.80} is no file of this folder; {WRITE_AGAIN}")
    return manifest


def _offset_of(stream: BinaryIO, triplet: int) -> int:
    """Where in the tar file the triplet at this position begins; reads headers only."""
    if triplet == 0:
        return 0
    with tarfile.open(fileobj=stream, mode="r:") as tar:
        key, number = None, -1
        for member in tar:
            if base_plus_ext(member.name)[0] != key:
                key, number = base_plus_ext(member.name)[0], number + 1
            if number == triplet:
                return member.offset
    raise tarfile.ReadError(f"it ends after {number + 1} triplets")


def _stored(sample: dict[str, Any], path: Path) -> StoredTriplet:
    """The triplet in webdataset's sample; ValueError when a part is missing or is not what was written."""
    origin = f"{path}:{sample['__key__']}"
    try:
        record = json_value(sample["json"])
        images = tuple(_image(sample, image, origin) for image in record["images"])
        reference, target, *distractors = (image["id"] for image in record["images"])
        texts = tuple(record["modification_texts"])
        triplet = Triplet(record["query_id"], reference, texts, target, tuple(distractors), record["group"])
        return StoredTriplet(triplet, record["source"], record["example"], images)
    except (ValueError, KeyError, TypeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"shard {path} is damaged at {sample['__key__']}: {reason}; {WRITE_AGAIN}") from error


def _image(sample: dict[str, Any], image: dict[str, Any], origin: str) -> StoredImage:
    data = sample[image["file"]]
    if zlib.crc32(data) != image["crc32"]:
        raise ValueError(f"{image['file']} has another checksum than when it was written")
    return StoredImage(image["path"], image["name"], data, f"{origin}.{image['file']}")

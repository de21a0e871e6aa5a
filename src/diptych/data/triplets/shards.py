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

import re
import stat
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from webdataset.tariterators import base_plus_ext, group_by_keys

from diptych.config.override_words import in_shell
from diptych.contracts.retrieval import Triplet
from diptych.data.annotations import Record
from diptych.photos.picture_data import MOST_BYTES
from diptych.storage.json_files import read_json
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
        self.key: str = manifest.name("key")
        self.settings = _settings(manifest.record("settings"))
        self.shards = [_shard(Record(manifest.where, shard)) for shard in manifest.objects("shards")]
        for shard in self.shards:
            path = self.folder / shard.file
            try:
                status = path.stat()
            except OSError as error:
                raise ValueError(f"shard {path}: {error.strerror or error}; {WRITE_AGAIN}") from error
            if not stat.S_ISREG(status.st_mode):
                raise ValueError(f"shard {path} is no regular file; {WRITE_AGAIN}")
            size = status.st_size
            if size != shard.bytes:
                raise ValueError(f"shard {path} has {size} bytes, {MANIFEST} says {shard.bytes}; {WRITE_AGAIN}")

    def read(self, number: int, first: int = 0) -> Iterator[StoredTriplet]:
        """The triplets of a shard from position `first` on; earlier ones are passed over without reading their images.

        Raises:
            ValueError: the shard is missing, truncated or damaged, or has another number of triplets than promised.
        """
        shard = self.shards[number]
        path, found = self.folder / shard.file, first
        for sample in _samples(path, first):
            found += 1
            yield _stored(sample, path)
        if found != shard.triplets:
            raise ValueError(
                f"shard {path} is damaged: {found} triplets can be read, {MANIFEST} says {shard.triplets}; "
                f"{WRITE_AGAIN}"
            )


def _read_manifest(folder: Path) -> Record:
    path = folder / MANIFEST
    if not path.is_file():
        state = "its conversion is not finished: run" if (folder / CONVERSION).is_file() else "write shards with"
        command = f"python -m diptych.shards ... {in_shell(f'output={folder}')}"
        raise ValueError(f"{folder} has no {MANIFEST}; {state} {command}")
    manifest = read_json(path, WRITE_AGAIN, shape=dict)
    if manifest.get("format") != FORMAT:
        raise ValueError(
            f"{path} has format {manifest.get('format')!r:.40}, this version reads {FORMAT}; write it again"
        )
    return Record(str(path), manifest)


def _settings(record: Record) -> dict[str, Any]:
    """The settings, of which those that are looked at are what they should be."""
    record.texts("sources")
    record.integer("group_size")
    for key in ("exploded", "distractors"):
        if not isinstance(record.data.get(key), bool):
            raise record.error(f"key {key!r} must be true or false")
    return record.data


def _shard(record: Record) -> Shard:
    """A line of the manifest: a file in the folder itself, with numbers that can be."""
    shard = Shard(record.name("file"), record.integer("triplets"), record.integer("bytes"))
    if not re.fullmatch(r"\w[\w.-]*", shard.file) or shard.triplets < 1 or shard.bytes < 0:
        raise record.error(f"{shard} is no shard of the folder; {WRITE_AGAIN}")
    return shard


def _samples(path: Path, first: int) -> Iterator[dict[str, Any]]:
    """Webdataset's samples of a shard from the triplet at position `first` on; ValueError as `ShardFolder.read`."""
    try:
        with path.open("rb") as stream:
            stream.seek(_offset_of(stream, first))
            yield from group_by_keys(_members(stream, path))
    except OSError as error:
        raise ValueError(f"shard {path} cannot be read: {error.strerror or error}; {WRITE_AGAIN}") from error
    # Tarfile's for damaged headers, and webdataset's for a name that occurs twice, which appends objects to them.
    except (tarfile.TarError, EOFError, ValueError, MemoryError) as error:
        reason = error.args[0] if error.args else "it takes more memory than there is"
        raise ValueError(f"shard {path} is truncated or damaged: {reason}; {WRITE_AGAIN}") from error


def _members(stream: BinaryIO, path: Path) -> Iterator[dict[str, Any]]:
    """The plain members of a tar file that is not packed, from where the stream stands, as webdataset groups them."""
    with tarfile.open(fileobj=stream, mode="r:") as tar:
        for member in tar:
            if member.isdir():
                continue
            if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.sparse is not None:
                raise tarfile.ReadError(f"{member.name!r} is no plain file")
            if member.size > MOST_BYTES:
                raise tarfile.ReadError(f"{member.name!r} has more than {MOST_BYTES >> 20} MiB")
            file = tar.extractfile(member)
            assert file is not None  # it is a plain file
            yield {"fname": member.name, "data": file.read(), "__url__": str(path)}
            tar.members = []  # type: ignore[attr-defined]  # which tarfile collects, out of its stub's sight


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
        reference, target, *distractors = (_text(image, "id") for image in record["images"])
        texts = tuple(record["modification_texts"])
        if not texts or not all(isinstance(text, str) for text in texts):
            raise TypeError("'modification_texts' are no texts")
        if not isinstance(record["example"], int):
            raise TypeError("'example' is no number")
        query_id, group = _text(record, "query_id"), _text(record, "group")
        triplet = Triplet(query_id, reference, texts, target, tuple(distractors), group)
        return StoredTriplet(triplet, _text(record, "source"), record["example"], images)
    except (ValueError, KeyError, TypeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"shard {path} is damaged at {sample['__key__']}: {reason}; {WRITE_AGAIN}") from error


def _text(record: dict[str, Any], key: str) -> str:
    value = record[key]
    if not isinstance(value, str):
        raise TypeError(f"{key!r} is no text")
    return value


def _image(sample: dict[str, Any], image: dict[str, Any], origin: str) -> StoredImage:
    file = _text(image, "file")
    data = sample[file]
    if zlib.crc32(data) != image["crc32"]:
        raise ValueError(f"{file} has another checksum than when it was written")
    return StoredImage(_text(image, "path"), _text(image, "name"), data, f"{origin}.{file}")

"""Writes training triplets into tar files of webdataset's layout (`shards.py` says what is in them)."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webdataset import TarWriter

from diptych.contracts.retrieval import Triplet, TripletSource
from diptych.data.triplets.sampling import MixingSampler
from diptych.data.triplets.shards import CONVERSION, FORMAT, MANIFEST, WRITE_AGAIN, ShardFolder
from diptych.data.triplets.triplet_dataset import short_name
from diptych.photos.picture_data import UnreadablePicture, read_bytes
from diptych.storage.file_lock import lock_file, locked
from diptych.storage.json_files import read_json, write_json
from diptych.storage.json_shapes import Count
from diptych.storage.key import key_of
from diptych.storage.processes import run_tasks
from diptych.storage.whole import remove_unfinished, whole_file

log = logging.getLogger(__name__)

_OWNER = "diptych"  # of every member; like the time of change (0) the same whoever writes, whenever


@dataclass(frozen=True, slots=True)
class _Record:
    """A triplet to write: its position in the plain form, and its images' files (reference, target, distractors)."""

    example: int
    source: str
    triplet: Triplet
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Task:
    """A shard to write; `first` is the number of its first triplet, `common` the folder above all images."""

    path: Path
    first: int
    records: tuple[_Record, ...]
    common: str


def write_shards(
    records: Sequence[tuple[TripletSource, Triplet]],
    folder: str | Path,
    per_shard: int = 1000,
    seed: int = 0,
    group_size: int = 1,
    exploded: bool = False,
    with_distractors: bool = False,
    num_workers: int | None = 1,
    show_progress: bool = False,
) -> ShardFolder:
    """Writes the training triplets, shuffled by `seed`, into shards of at most `per_shard`, their numbers equal to one.

    With `group_size` n, up to n triplets of one group stand side by side. `exploded` says that there is a record per
    wording. `num_workers` processes write (None: one a processor).

    Every shard gets its name when it is complete and on the disk, the manifest comes last: killed anywhere, the same
    call resumes with the shards that are missing, and the folder ends with the same bytes. On a finished folder it
    writes again what is missing or of another size, and else nothing.

    Raises:
        ValueError: the folder holds something else or another conversion; another process is writing there; an image
            cannot be read; `per_shard` is below 1.
    """
    folder = Path(folder).absolute()
    if per_shard < 1:
        raise ValueError(f"per_shard={per_shard} must be 1 or more")
    settings = {
        "sources": list(dict.fromkeys(source.name for source, _ in records)),
        "triplets": len(records),
        "per_shard": per_shard,
        "seed": seed,
        "group_size": group_size,
        "exploded": exploded,
        "distractors": with_distractors,
        "records": _digest(records),
    }
    busy = f"another process is writing shards into {folder}; wait for it, or stop it"
    with locked(lock_file(folder), patience=0, busy=busy):
        remove_unfinished(folder, CONVERSION, MANIFEST, "[0-9]*.tar")
        _claim(folder, settings)
        tasks = _tasks(records, folder, settings)
        known = _sizes_in_manifest(folder)
        missing = [task for task in tasks if not _is_there(task.path, known)]
        if missing or not known:
            log.info("%s: %d of %d shards to write", folder, len(missing), len(tasks))
            run_tasks(_write_shard, missing, num_workers, 1, "writing shards", show_progress)
            shards = [
                {"file": task.path.name, "triplets": len(task.records), "bytes": task.path.stat().st_size}
                for task in tasks
            ]
            manifest = {"format": FORMAT, "key": key_of(settings), "settings": settings, "shards": shards}
            write_json(folder / MANIFEST, manifest, indent=1)
    return ShardFolder(folder)


def _digest(records: Sequence[tuple[TripletSource, Triplet]]) -> str:
    """SHA-256 of all records: another set, or another version of it, is another conversion."""
    digest = hashlib.sha256()
    for source, triplet in records:
        digest.update(f"{source.name} {triplet!r}\n".encode())
    return digest.hexdigest()


def _claim(folder: Path, settings: dict[str, Any]) -> None:
    """Makes the folder this conversion's; ValueError when it is another's or holds anything else."""
    path = folder / CONVERSION
    if not path.is_file():
        if folder.exists() and any(folder.iterdir()):
            raise ValueError(f"{folder} is not empty and holds no shards ({CONVERSION}): choose another output")
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, {"format": FORMAT, "settings": settings}, indent=1)
        return
    found = read_json(path, "choose another output", shape=dict)
    if found.get("format") != FORMAT:
        raise ValueError(f"{path} has format {found.get('format')}, this version writes {FORMAT}: another output")
    if not isinstance(found.get("settings"), dict):
        raise ValueError(f"{path} names no settings: choose another output")
    different = {name: (found["settings"].get(name), value) for name, value in settings.items()}
    different = {name: pair for name, pair in different.items() if pair[0] != pair[1]}
    if different:
        changes = "; ".join(f"{name} {old!r} there, {new!r} asked for" for name, (old, new) in different.items())
        raise ValueError(f"{folder} holds another conversion ({changes}): choose another output, or remove it")


def _tasks(records: Sequence[tuple[TripletSource, Triplet]], folder: Path, settings: dict[str, Any]) -> list[_Task]:
    """The shards, in their order: the first pass of the plain form, cut into parts of equal size but for one."""
    groups = [(source.name, triplet.group or triplet.query_id) for source, triplet in records]
    sampler = MixingSampler(
        [len(records)], None, 1, len(records), settings["seed"], groups=groups, group_size=settings["group_size"]
    )
    order = [example for example, _ in sampler]
    # Relative to this, an image has one path, in whichever source it is named and wherever the data lies.
    common = os.path.commonpath([source.root.absolute() for source, _ in records])
    num_shards = -(-len(order) // settings["per_shard"])
    bounds = [number * len(order) // num_shards for number in range(num_shards + 1)]
    return [
        _Task(
            folder / f"{number:06d}.tar",
            bounds[number],
            tuple(
                _record(example, *records[example], settings["distractors"])
                for example in order[bounds[number] : bounds[number + 1]]
            ),
            common,
        )
        for number in range(num_shards)
    ]


def _record(example: int, source: TripletSource, triplet: Triplet, with_distractors: bool) -> _Record:
    names = _images_of(triplet, with_distractors)
    return _Record(example, source.name, triplet, tuple(source.image_path("train", name) for name in names))


def _images_of(triplet: Triplet, with_distractors: bool) -> tuple[str, ...]:
    return (triplet.reference_image, triplet.target_image, *(triplet.distractors if with_distractors else ()))


def _sizes_in_manifest(folder: Path) -> dict[str, int]:
    """Bytes by file name; empty while the conversion is not finished."""
    if not (folder / MANIFEST).is_file():
        return {}
    manifest = read_json(folder / MANIFEST, WRITE_AGAIN, shape={"shards": [{"file": str, "bytes": Count}]})
    return {shard["file"]: shard["bytes"] for shard in manifest["shards"]}


def _is_there(path: Path, known: dict[str, int]) -> bool:
    return path.is_file() and (path.name not in known or path.stat().st_size == known[path.name])


# ---------------------------------------------------------------------------------------------------- one shard


def _write_shard(task: _Task) -> None:
    with (
        whole_file(task.path) as temporary,
        temporary.open("wb") as file,
        TarWriter(file, encoder=False, user=_OWNER, group=_OWNER, mtime=0) as writer,
    ):
        for number, record in enumerate(task.records, task.first):
            writer.write({"__key__": f"{number:010d}", **_members(record, task.common)})


def _members(record: _Record, common: str) -> dict[str, bytes]:
    """The files of one triplet, by their names without the key."""
    roles = ("reference", "target", *(f"distractor_{number}" for number in range(len(record.paths) - 2)))
    names = _images_of(record.triplet, with_distractors=len(record.paths) > 2)
    members: dict[str, bytes] = {}
    images = []
    for role, name, path in zip(roles, names, record.paths, strict=True):
        data = _bytes_of(path, record)
        file = f"{role}.{path.suffix.lower().lstrip('.') or 'image'}"
        members[file] = data
        location = Path(os.path.relpath(path, common)).as_posix()
        images.append({"file": file, "id": name, "path": location, "name": short_name(path), "crc32": zlib.crc32(data)})
    described = {
        "query_id": record.triplet.query_id,
        "modification_texts": record.triplet.modification_texts,
        "group": record.triplet.group,
        "source": record.source,
        "example": record.example,
        "images": images,
    }
    return {**members, "json": json.dumps(described).encode()}


def _bytes_of(path: Path, record: _Record) -> bytes:
    where = f"(query {record.triplet.query_id} of {record.source})"
    try:
        data = read_bytes(path)
    except UnreadablePicture as error:
        raise ValueError(f"{error} {where}") from error
    if not data:
        raise ValueError(f"image {path} is empty (0 bytes); fetch it again {where}")
    return data

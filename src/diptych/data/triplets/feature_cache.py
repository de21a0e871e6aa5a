"""A frozen backbone's features on disk: computed once, read by every later run, rank and worker.

Shape letters: N rows of a shard, T tokens of all its rows together, P patches, L text tokens, D tower width,
E embedding width.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from diptych.contracts.models import ImageFeatures, TextFeatures
from diptych.storage.arrays import crc_of_arrays, map_array
from diptych.storage.file_lock import locked
from diptych.storage.json_files import read_json
from diptych.storage.key import key_of
from diptych.storage.whole import remove_unfinished, whole_folder, write_file

log = logging.getLogger(__name__)

Features = TypeVar("Features", ImageFeatures, TextFeatures)
Stamp = tuple[int, int]  # size and modification time (ns) of an image file; zeros for a text

# A killed build loses at most the shard it was writing: 20 MB of ViT-B/32 features in float16.
_ROWS_PER_SHARD = 256
_PER_TOKEN = ("tokens", "mask")  # these lie end to end, (T, ...), with `starts` (N + 1,); the others are (N, ...)


class BackboneFeatures:
    """Features of image files and of texts, computed under `settings`, in a folder of their own below `root`.

    - Other settings are another folder, named by their hash; `manifest.json` in it holds them.
    - Features lie in shards, folders of memory-mapped arrays that are put in place in one step: what a killed build has
      finished is kept, and processes share the pages that they read.
    - An image is known by its absolute path; its features are out of date when its size or modification time differ.

    Opening reads the shards' indices alone. Rows are copies, without a batch axis, in the stored precision; each is
    compared with its checksum whenever it is read (those that earlier versions wrote have none).
    """

    def __init__(self, root: str | Path, settings: Mapping[str, Any]) -> None:
        self._arguments = root, settings
        self.folder = Path(root) / key_of(settings, indent=2)
        self.images = FeatureShards(self.folder / "images", ImageFeatures)
        self.texts = FeatureShards(self.folder / "texts", TextFeatures)

    def __reduce__(self) -> tuple:
        return type(self), self._arguments  # a worker maps the files itself: pickled arrays would be copies

    def image(self, path: Path) -> ImageFeatures:
        """Features of an image: tokens (P, D), embedding (E,), pooled (D,); ValueError if they were not computed."""
        return self.images.row(image_name(path))

    def text(self, text: str) -> TextFeatures:
        """Features of a text: tokens (L, D), mask (L,), embedding (E,); ValueError if they were not computed."""
        return self.texts.row(text)

    def missing_images(self, paths: Iterable[Path]) -> dict[str, Stamp]:
        """Names and present stamps of the images whose features are not there, or out of date."""
        return self.images.missing({image_name(path): _stamp(path) for path in paths})

    def missing_texts(self, texts: Iterable[str]) -> dict[str, Stamp]:
        """The texts whose features are not there."""
        return self.texts.missing(dict.fromkeys(texts, (0, 0)))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Lets one process at a time add features; within, what others have added before is there."""
        with locked(self.folder / "lock"):
            manifest = json.dumps(self._arguments[1], indent=2, sort_keys=True)
            write_file(self.folder / "manifest.json", manifest.encode())
            for shards in (self.images, self.texts):
                remove_unfinished(shards.folder, "[0-9]*")
                shards.open()
            yield


@dataclass(frozen=True)
class _Shard:
    """`rows` are names and stamps; `checksums` have none or each one's."""

    folder: Path
    rows: Sequence[tuple[str, Stamp]]
    checksums: Sequence[int]
    arrays: Mapping[str, np.ndarray]


class FeatureShards(Generic[Features]):
    """The features of one kind: rows by name, in shards that are written whole and mapped into memory."""

    def __init__(self, folder: Path, kind: type[Features]) -> None:
        self.folder = folder
        self.kind: type[Features] = kind
        self.open()

    def open(self) -> None:
        """Maps all shards that are in the folder; of two rows of one name the later counts."""
        self._shards: list[_Shard] = []
        self._places: dict[str, tuple[int, int, Stamp]] = {}
        for shard in sorted(self.folder.glob("[0-9]*")):
            self._open_shard(shard)

    def missing(self, wanted: Mapping[str, Stamp]) -> dict[str, Stamp]:
        """The part of `wanted` that is not there with the same stamp."""
        return {name: stamp for name, stamp in wanted.items() if self._places.get(name, (0, 0, None))[2] != stamp}

    def row(self, name: str) -> Features:
        """A copy of one row; ValueError when there is none, or when it is not as it was written (names the shard)."""
        if name not in self._places:
            raise ValueError(
                f"{self.folder} holds no features of {name!r}: the training data changed since they were computed"
            )
        number, row, _ = self._places[name]
        shard = self._shards[number]
        tokens = slice(*shard.arrays["starts"][row : row + 2])
        values = {
            field.name: np.array(shard.arrays[field.name][tokens if field.name in _PER_TOKEN else row])
            for field in fields(self.kind)
        }
        if row < len(shard.checksums) and crc_of_arrays(name, values.values()) != shard.checksums[row]:
            raise _damaged(shard.folder, f"the features of {name!r} are not those that were written")
        return self.kind(**{field: torch.from_numpy(value) for field, value in values.items()})

    def check(self) -> int:
        """Reads every row that counts; returns their number. ValueError as `row`."""
        for name in self._places:
            self.row(name)
        return len(self._places)

    def extend(self, rows: Iterable[tuple[str, Stamp, Features]]) -> None:
        """Adds rows (on the CPU, in the stored precision), shard by shard as they come."""
        remaining = iter(rows)
        while shard := list(islice(remaining, _ROWS_PER_SHARD)):
            self._write_shard(*zip(*shard, strict=True))

    def _open_shard(self, folder: Path) -> None:
        shard = _open_shard(folder, [field.name for field in fields(self.kind)])
        for row, (name, stamp) in enumerate(shard.rows):
            self._places[name] = len(self._shards), row, stamp
        self._shards.append(shard)

    def _write_shard(self, names: Sequence[str], stamps: Sequence[Stamp], rows: Sequence[Features]) -> None:
        name = f"{len(self._shards):06d}-{secrets.token_hex(4)}"  # unique even where the lock does not work
        with whole_folder(self.folder / name) as unfinished:
            np.save(unfinished / "starts.npy", np.cumsum([0, *(len(row.tokens) for row in rows)]))
            for field in fields(self.kind):
                parts = [getattr(row, field.name) for row in rows]
                together = torch.cat(parts) if field.name in _PER_TOKEN else torch.stack(parts)
                np.save(unfinished / f"{field.name}.npy", together.numpy())
            listed = zip(names, stamps, rows, strict=True)
            index = [(name, size, time, _crc(name, row)) for name, (size, time), row in listed]
            (unfinished / "index.json").write_text(json.dumps(index))
        self._open_shard(self.folder / name)


def _open_shard(folder: Path, names: Sequence[str]) -> _Shard:
    """Maps the arrays of these names, which fit together; ValueError names the shard if anything is wrong with it."""
    try:
        index = read_json(folder / "index.json")
        rows = [(name, (size, modified)) for name, size, modified, *_ in index]
        checksums = [row[3] for row in index if len(row) == 4]
        if not all(isinstance(name, str) for name, _ in rows) or len(checksums) not in (0, len(rows)):
            raise ValueError("index.json lists no names with sizes, times and checksums")
        starts = map_array(folder / "starts.npy", (len(rows) + 1,), "int64")
        arrays = {name: map_array(folder / f"{name}.npy") for name in names}
        if starts[0] != 0 or (np.diff(starts) < 0).any():
            raise ValueError("starts.npy does not ascend from 0")
        for name, array in arrays.items():
            length = starts[-1] if name in _PER_TOKEN else len(rows)
            if array.ndim < 1 or len(array) != length:
                raise ValueError(f"{name}.npy has the shape {array.shape}, not {length} rows")
    except (ValueError, TypeError) as error:
        raise _damaged(folder, error) from None
    # Not as memmaps, of which every slice costs several times as much.
    plain = {name: np.asarray(array) for name, array in [*arrays.items(), ("starts", starts)]}
    return _Shard(folder, rows, checksums, plain)


def _damaged(shard: Path, reason: object) -> ValueError:
    return ValueError(f"{shard} is damaged ({reason}); delete it, and its features are computed again")


def _crc(name: str, row: ImageFeatures | TextFeatures) -> int:
    return crc_of_arrays(name, (getattr(row, field.name).numpy() for field in fields(row)))


def image_name(path: Path) -> str:
    """What an image is known by."""
    return str(path.absolute())


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError as error:
        raise ValueError(f"image {path} cannot be read: {error.strerror or error}") from error
    return status.st_size, status.st_mtime_ns

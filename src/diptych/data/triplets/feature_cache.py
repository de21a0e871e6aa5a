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
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from diptych.contracts.models import ImageFeatures, TextFeatures
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

    Opening reads the shards' indices alone. Rows are copies, without a batch axis, in the stored precision.
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


class FeatureShards(Generic[Features]):
    """The features of one kind: rows by name, in shards that are written whole and mapped into memory."""

    def __init__(self, folder: Path, kind: type[Features]) -> None:
        self.folder = folder
        self.kind: type[Features] = kind
        self.open()

    def open(self) -> None:
        """Maps all shards that are in the folder; of two rows of one name the later counts."""
        self._shards: list[dict[str, np.ndarray]] = []
        self._places: dict[str, tuple[int, int, Stamp]] = {}
        for shard in sorted(self.folder.glob("[0-9]*")):
            self._open_shard(shard)

    def missing(self, wanted: Mapping[str, Stamp]) -> dict[str, Stamp]:
        """The part of `wanted` that is not there with the same stamp."""
        return {name: stamp for name, stamp in wanted.items() if self._places.get(name, (0, 0, None))[2] != stamp}

    def row(self, name: str) -> Features:
        """A copy of one row; ValueError when there is none."""
        if name not in self._places:
            raise ValueError(
                f"{self.folder} holds no features of {name!r}: the training data changed since they were computed"
            )
        shard, row, _ = self._places[name]
        arrays = self._shards[shard]
        tokens = slice(*arrays["starts"][row : row + 2])
        return self.kind(
            **{
                field.name: torch.from_numpy(np.array(arrays[field.name][tokens if field.name in _PER_TOKEN else row]))
                for field in fields(self.kind)
            }
        )

    def extend(self, rows: Iterable[tuple[str, Stamp, Features]]) -> None:
        """Adds rows (on the CPU, in the stored precision), shard by shard as they come."""
        remaining = iter(rows)
        while shard := list(islice(remaining, _ROWS_PER_SHARD)):
            self._write_shard(*zip(*shard, strict=True))

    def _open_shard(self, shard: Path) -> None:
        try:
            index = read_json(shard / "index.json")
            names = ["starts", *(field.name for field in fields(self.kind))]
            arrays = {name: np.asarray(np.load(shard / f"{name}.npy", mmap_mode="r")) for name in names}
        except (OSError, ValueError) as error:
            raise ValueError(f"{shard} is damaged ({error}); delete it, and its features are computed again") from error
        for row, (name, size, modified) in enumerate(index):
            self._places[name] = len(self._shards), row, (size, modified)
        self._shards.append(arrays)

    def _write_shard(self, names: Sequence[str], stamps: Sequence[Stamp], rows: Sequence[Features]) -> None:
        name = f"{len(self._shards):06d}-{secrets.token_hex(4)}"  # unique even where the lock does not work
        with whole_folder(self.folder / name) as unfinished:
            np.save(unfinished / "starts.npy", np.cumsum([0, *(len(row.tokens) for row in rows)]))
            for field in fields(self.kind):
                parts = [getattr(row, field.name) for row in rows]
                together = torch.cat(parts) if field.name in _PER_TOKEN else torch.stack(parts)
                np.save(unfinished / f"{field.name}.npy", together.numpy())
            index = [(name, size, modified) for name, (size, modified) in zip(names, stamps, strict=True)]
            (unfinished / "index.json").write_text(json.dumps(index))
        self._open_shard(self.folder / name)


def image_name(path: Path) -> str:
    """What an image is known by."""
    return str(path.absolute())


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError as error:
        raise ValueError(f"image {path} cannot be read: {error.strerror or error}") from error
    return status.st_size, status.st_mtime_ns

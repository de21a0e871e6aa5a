"""Embeddings by id on disk: written as they come, by several processes, merged into one array that is mapped to memory.

During a run each process appends to a part of its own (`embedding_part.py`). `finish` merges them into

- `embeddings.npy`: the vectors (N, E), float16 or float32
- `ids.jsonl`: the id of each row, a JSON string a line
- `embeddings.json`: `dtype`, `width`, `count`, and SHA-256 of the ids' file and of the vectors' bytes, which are
  compared when the store is opened and when the vectors are first asked for
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from diptych.data.annotations import first_repeated
from diptych.index.embedding_part import (
    DTYPES,
    SUFFIX,
    EmbeddingPart,
    EmbeddingRows,
    id_lines,
    parse_id_lines,
    read_part,
    require_equal,
)
from diptych.storage.arrays import map_array
from diptych.storage.json_files import read_json
from diptych.storage.json_shapes import Count
from diptych.storage.json_values import encodable
from diptych.storage.whole import move, remove_unfinished, whole_folder

VECTORS, IDS, FACTS = "embeddings.npy", "ids.jsonl", "embeddings.json"
_PARTS = "parts"
_MERGED = "merged"  # where this folder is, the merge has happened: its files count, and the parts no longer do
_ROWS_AT_ONCE = 8192


class StoredEmbeddings:
    """A finished store in `folder`: the id of each row, and the vectors. `open_embeddings` makes it."""

    def __init__(self, folder: Path, ids: list[str], vectors: np.ndarray, digest: str) -> None:
        self.folder, self.ids = folder, ids
        self._vectors, self._digest = vectors, digest

    @cached_property
    def vectors(self) -> np.ndarray:
        """The rows (N, E), mapped read-only. The first time all are read, at about 1 GB/s.

        Raises:
            ValueError: they are not those that were written; names file and folder.
        """
        digest = hashlib.sha256()
        for start in range(0, len(self._vectors), _ROWS_AT_ONCE):
            digest.update(self._vectors[start : start + _ROWS_AT_ONCE].data)
        if digest.hexdigest() != self._digest:
            raise _damaged(self.folder, f"the vectors in {VECTORS} are not those that were written")
        return self._vectors


def open_embeddings(folder: str | Path) -> StoredEmbeddings:
    """The finished embeddings of a folder, in a fraction of a second whatever their size: no vector is read.

    Raises:
        ValueError: there are none, a merge was interrupted, or the files do not belong together; names folder or file.
    """
    folder = Path(folder)
    if (folder / _MERGED).exists():
        raise ValueError(f"{folder}: merging the embeddings was interrupted; run the stage that makes them again")
    if not (folder / FACTS).is_file():
        raise ValueError(f"{folder} holds no finished embeddings: {FACTS} is not there; run the stage that makes them")
    try:
        shape = {"count": Count, "width": Count, "dtype": str, "ids_sha256": str, "vectors_sha256": str}
        facts = read_json(folder / FACTS, shape=shape)
        encoded = (folder / IDS).read_bytes()
        ids = parse_id_lines(encoded)
        if facts["dtype"] not in DTYPES or facts["count"] != len(ids) or not all(isinstance(one, str) for one in ids):
            raise ValueError(f"{IDS} and {FACTS} do not belong together")
        if not facts["count"]:
            vectors = np.zeros((0, facts["width"]), facts["dtype"])  # an empty file cannot be mapped
        else:
            vectors = map_array(folder / VECTORS)
        found = [hashlib.sha256(encoded).hexdigest(), str(vectors.dtype), *vectors.shape]
        if found != [facts[key] for key in ("ids_sha256", "dtype", "count", "width")]:
            raise ValueError(f"{IDS}, {VECTORS} and {FACTS} do not belong together")
        return StoredEmbeddings(folder, ids, vectors, facts["vectors_sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, error) from None


def _damaged(folder: Path, reason: object) -> ValueError:
    return ValueError(f"{folder} is damaged ({reason}); delete it, and run the stage that makes it")


class EmbeddingStore:
    """A RecordSink of records `{key: id, "embedding": float32 (E,)}`; rows are kept as `dtype`.

    - What `append` was given is on the disk when it returns; a kill at any moment loses nothing of it.
    - Processes that fill one store at the same time have a `part` each. One process calls `done` before they start,
      and `finish` when they have ended.
    - Rows that were finished stay when others are added. An id may come again with the same bits: the first one counts.
    - An id may be any text that `encodable` leaves as it is.
    - While rows are merged, the disk must have room for them twice.

    Construction does no I/O.
    """

    def __init__(
        self, folder: str | Path, key: str = "image_id", dtype: str = "float16", part: int | None = None
    ) -> None:
        if dtype not in DTYPES:
            raise ValueError(f"dtype {dtype!r} is not known; choose {' or '.join(DTYPES)}")
        self.folder = Path(folder)
        self.key = key
        self.dtype = dtype
        self._part = EmbeddingPart(self.folder / _PARTS / f"{part or 0:05d}{SUFFIX}", dtype)

    def done(self) -> set[str]:
        """The ids of all rows there are: finished ones, and those of every part.

        Raises:
            ValueError: a file is damaged, or holds embeddings of another dtype or width.
        """
        self._complete_merge()
        return {name for source in self._sources() for name in source.ids}

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Adds rows to this process's part. If one record is refused, none of the call's is kept.

        Raises:
            ValueError: a record has other keys, or an id that cannot be written; an embedding is no vector, has another
                width than the part's others, or holds what `dtype` cannot (NaN, infinity, 70,000 in float16); an id
                came before with other bits; or the disk does not take it (names folder and reason).
        """
        names, rows = self._checked(list(records))
        if not names:
            return
        self._complete_merge()
        try:
            self._part.append(names, rows)
        except OSError as error:
            raise self._not_written(error) from error

    def finish(self, ids: Sequence[str]) -> None:
        """Merges everything into the three files, rows in the order of `ids`, and removes the parts.

        Ids without a row are left out, and rows of other ids are let go. A kill at any moment leaves a folder from
        which the same call ends with the same bytes. Where nothing is to be changed, nothing is written.

        Raises:
            ValueError: `ids` has one twice, an id has rows of different bits, parts differ in width, or the disk does
                not take it.
        """
        if (repeated := first_repeated(ids)) is not None:
            raise ValueError(f"{self.folder} is not finished: id {repeated!r} is asked for twice")
        self._complete_merge()
        sources = self._sources()
        places = _places(sources)
        kept = [name for name in ids if name in places]
        unchanged = len(sources) == 1 and sources[0].file.name == FACTS and sources[0].ids == kept
        if unchanged and not (self.folder / _PARTS).exists():
            return
        try:
            self._write(kept, [places[name] for name in kept], sources)
            self._complete_merge()
        except OSError as error:
            raise self._not_written(error) from error

    def _checked(self, records: Sequence[Mapping[str, Any]]) -> tuple[list[str], np.ndarray]:
        """The ids, and the rows (N, E) in the store's dtype."""
        for record in records:
            if set(record) != {self.key, "embedding"} or not isinstance(record[self.key], str):
                raise ValueError(f"a record must hold a text {self.key!r} and 'embedding'; found {sorted(record)}")
        names = [record[self.key] for record in records]
        if unwritable := [name for name in names if encodable(name) != name]:
            raise ValueError(
                f"the id {unwritable[0]!r} holds half a surrogate pair, which cannot be written; rename it"
            )
        vectors = [np.asarray(record["embedding"]) for record in records]
        for name, vector in zip(names, vectors, strict=True):
            if vector.ndim != 1 or vector.shape != vectors[0].shape:
                raise ValueError(
                    f"the embedding of {name!r} has the shape {vector.shape}, that of {names[0]!r} {vectors[0].shape};"
                    " all must be vectors of one width"
                )
        with np.errstate(over="ignore"):  # what float16 cannot hold becomes infinite, and is found below
            rows = np.array(vectors, dtype=self.dtype)
        if not np.isfinite(rows).all():
            bad = names[int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])]
            raise ValueError(f"the embedding of {bad!r} holds NaN, or values that {self.dtype} cannot hold")
        return names, rows

    def _sources(self) -> list[EmbeddingRows]:
        """What there is, the finished rows first."""
        sources = [read_part(file) for file in sorted((self.folder / _PARTS).glob(f"*{SUFFIX}"))]
        sources = [source for source in sources if source.ids]
        if (self.folder / FACTS).is_file():
            finished = open_embeddings(self.folder)
            sources.insert(0, EmbeddingRows(self.folder / FACTS, finished.ids, finished.vectors))
        filled = [source for source in sources if source.ids]
        for source in filled:
            if source.rows.dtype != self.dtype or source.rows.shape[1] != filled[0].rows.shape[1]:
                raise ValueError(
                    f"{source.file} holds {source.rows.dtype} of width {source.rows.shape[1]}, wanted are {self.dtype}"
                    f" of width {filled[0].rows.shape[1]}; delete {self.folder}, and all is made again"
                )
        return sources

    def _write(self, ids: Sequence[str], places: Sequence[tuple[int, int]], sources: Sequence[EmbeddingRows]) -> None:
        """The merged files, which appear in one step."""
        remove_unfinished(self.folder, _MERGED)
        width = max((source.rows.shape[1] for source in sources), default=0)
        encoded = id_lines(ids).encode()
        facts = {"dtype": self.dtype, "width": width, "count": len(ids)}
        with whole_folder(self.folder / _MERGED) as temporary:
            vectors_digest = _write_vectors(temporary / VECTORS, self.dtype, width, places, sources)
            facts |= {"ids_sha256": hashlib.sha256(encoded).hexdigest(), "vectors_sha256": vectors_digest}
            (temporary / IDS).write_bytes(encoded)
            (temporary / FACTS).write_text(f"{json.dumps(facts, indent=1)}\n")

    def _complete_merge(self) -> None:
        """Puts merged files where they belong and removes the parts: also where a killed process had no time for it."""
        merged = self.folder / _MERGED
        if not merged.exists():
            return
        for name in (VECTORS, IDS, FACTS):
            if (merged / name).exists():
                move(merged / name, self.folder / name)
        if (self.folder / _PARTS).exists():
            shutil.rmtree(self.folder / _PARTS)
        merged.rmdir()

    def _not_written(self, error: OSError) -> ValueError:
        return ValueError(
            f"{self.folder} does not take the embeddings: {error.strerror or error} ({error.filename}); make room, or"
            " name another folder; the next run continues with what is there"
        )


def _places(sources: Sequence[EmbeddingRows]) -> dict[str, tuple[int, int]]:
    """Source and row of every id; where an id is there twice, both rows must have the same bits."""
    places: dict[str, tuple[int, int]] = {}
    for number, source in enumerate(sources):
        for row, name in enumerate(source.ids):
            first = places.setdefault(name, (number, row))
            if first != (number, row):
                earlier = sources[first[0]].rows[first[1]]
                require_equal(earlier.tobytes(), source.rows[row].tobytes(), name, source.file)
    return places


def _write_vectors(
    path: Path, dtype: str, width: int, places: Sequence[tuple[int, int]], sources: Sequence[EmbeddingRows]
) -> str:
    """Writes rows of the sources as .npy, a block at a time; returns the SHA-256 of their bytes."""
    origins = np.array(places, np.int64).reshape(-1, 2)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        layout = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": (len(places), width)}
        np.lib.format.write_array_header_1_0(file, layout)
        for start in range(0, len(places), _ROWS_AT_ONCE):
            numbers, rows = origins[start : start + _ROWS_AT_ONCE].T
            block = np.empty((len(rows), width), dtype)
            for number in np.unique(numbers):
                block[numbers == number] = sources[number].rows[rows[numbers == number]]
            digest.update(block.data)
            file.write(block.data)
    return digest.hexdigest()

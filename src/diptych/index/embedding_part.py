"""One process's part of an embedding store while it is being filled: raw rows, and beside them the ids of the rows.

Ids are written once their rows are on the disk, so a part never names a row that it does not hold. What a kill leaves
behind the last whole id is not read, and is cut off by the next `append`. The ids' file starts with a line of `dtype`
and `width`, then holds a JSON list a line: the id, and the CRC-32 of the id and its row. Earlier versions wrote the id
alone; such rows are not checked.
"""

from __future__ import annotations

import json
import logging
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from diptych.storage.json_values import json_value
from diptych.storage.whole import sync_file, sync_folder

log = logging.getLogger(__name__)

SUFFIX = ".ids.jsonl"
DTYPES = ("float16", "float32")


@dataclass(frozen=True)
class EmbeddingRows:
    """Ids with their rows (N, E), mapped read-only; `file` is named in messages. Without any id E may be 0."""

    file: Path
    ids: list[str]
    rows: np.ndarray


class EmbeddingPart:
    """The part `file` (it ends with `SUFFIX`), its rows beside it. One process writes, others may read meanwhile."""

    def __init__(self, file: Path, dtype: str) -> None:
        self.file = file
        self.dtype = dtype
        self._sizes: tuple[int, int] | None = None  # of both files as this object left them
        self._width = 0
        self._places: dict[str, int] = {}

    def append(self, names: Sequence[str], rows: np.ndarray) -> None:
        """Adds rows (N, E) of the part's dtype; when it returns they are on the disk. Ids that are there already are
        passed over.

        Raises:
            ValueError: an id has other bits than before, the part has rows of another width or dtype, or is damaged.
            OSError: the disk does not take it.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("ab+") as ids_file, _rows_file(self.file).open("ab+") as rows_file:
            if self._sizes is None or self._sizes != (_size(ids_file), _size(rows_file)):
                self._sizes = self._recover(ids_file, rows_file)
            if self._sizes[0] and self._width != rows.shape[1]:
                raise ValueError(
                    f"{self.file} holds embeddings of width {self._width}, now come some of {rows.shape[1]}"
                )
            fresh = self._fresh(names, rows, rows_file)
            header = "" if self._sizes[0] else json.dumps({"dtype": self.dtype, "width": rows.shape[1]}) + "\n"
            self._sizes = None  # should writing fail, the files are read again
            _write(rows_file, rows[list(fresh.values())].tobytes())
            lines = "".join(f"{json.dumps([name, _crc(name, rows[row])])}\n" for name, row in fresh.items())
            _write(ids_file, (header + lines).encode())
            if header:
                sync_folder(self.file.parent)
            for name in fresh:
                self._places[name] = len(self._places)
            self._sizes, self._width = (_size(ids_file), _size(rows_file)), rows.shape[1]

    def _fresh(self, names: Sequence[str], rows: np.ndarray, rows_file: BinaryIO) -> dict[str, int]:
        """The ids that are new, with their positions in `rows`."""
        fresh: dict[str, int] = {}
        for number, (name, row) in enumerate(zip(names, rows, strict=True)):
            if name in self._places:
                rows_file.seek(self._places[name] * row.nbytes)
                require_equal(rows_file.read(row.nbytes), row.tobytes(), name, self.file)
            elif name in fresh:
                require_equal(rows[fresh[name]].tobytes(), row.tobytes(), name, self.file)
            else:
                fresh[name] = number
        return fresh

    def _recover(self, ids_file: BinaryIO, rows_file: BinaryIO) -> tuple[int, int]:
        """Learns what the files hold, and cuts off what was being written when a process was killed; their sizes."""
        ids_file.seek(0)
        listed = _parse(ids_file.read(), self.file)
        if listed.end and listed.dtype != self.dtype:
            raise ValueError(f"{self.file} holds {listed.dtype}, not {self.dtype}")
        num_bytes = _required_bytes(self.file, listed)
        for file, size in ((ids_file, listed.end), (rows_file, num_bytes)):
            if _size(file) > size:
                log.info("%s: cutting off %d bytes that an interrupted run has left", file.name, _size(file) - size)
                file.truncate(size)
        self._places = {name: place for place, name in enumerate(listed.ids)}
        self._width = listed.width
        return listed.end, num_bytes


def read_part(file: Path) -> EmbeddingRows:
    """The rows that a part's ids name, all of which are read and compared with their checksums.

    Raises:
        ValueError: the part is damaged; names the file, and of a row that is not as it was written the id.
    """
    try:
        listed = _parse(file.read_bytes(), file)
        if not _required_bytes(file, listed):
            return EmbeddingRows(file, [], np.zeros((0, listed.width), listed.dtype))
        rows = np.memmap(_rows_file(file), listed.dtype, mode="r", shape=(len(listed.ids), listed.width))
    except OSError as error:
        raise ValueError(f"{file} cannot be read ({error.strerror or error})") from None
    for name, row in zip(listed.ids, rows.view(np.ndarray), strict=True):  # rows of a memmap cost 20 times as much
        if listed.checksums.get(name) not in (None, _crc(name, row)):
            raise _damaged(file, f"the row of {name!r} does not have its checksum")
    return EmbeddingRows(file, listed.ids, rows)


def require_equal(first: bytes, again: bytes, name: str, file: Path) -> None:
    """ValueError unless an id that came again has the same bits."""
    if first != again:
        raise ValueError(
            f"{file}: {name!r} comes twice, with different embeddings; if a model or photo has changed, delete the"
            " folder, and all is made again"
        )


def id_lines(ids: Sequence[str]) -> str:
    """A JSON string a line; only ASCII, so that no id can hold a line break."""
    return "".join(f"{json.dumps(name)}\n" for name in ids)


def parse_id_lines(encoded: bytes) -> list[Any]:
    """The JSON value of each line, all at once: line by line takes 10 times as long."""
    return json_value(b"[" + encoded.rstrip(b"\n").replace(b"\n", b",") + b"]")


@dataclass(frozen=True)
class _Listed:
    """What the whole lines of a part's ids say, and how many bytes they are; checksums by id."""

    dtype: str
    width: int
    ids: list[str]
    checksums: Mapping[str, int]
    end: int


def _parse(encoded: bytes, file: Path) -> _Listed:
    end = encoded.rfind(b"\n") + 1
    if _is_json(encoded[end:-1]):  # what a kill has left of a line is none
        raise _damaged(file, "its last line has no end")
    if not end:
        return _Listed("float32", 0, [], {}, 0)
    header, _, lines = encoded[:end].partition(b"\n")
    try:
        fields = json_value(header)
        dtype, width, listed = fields["dtype"], fields["width"], parse_id_lines(lines)
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(file, error) from None
    ids = [line[0] if isinstance(line, list) and len(line) == 2 else line for line in listed]
    if dtype not in DTYPES or type(width) is not int or width < 0 or not all(isinstance(name, str) for name in ids):
        raise _damaged(file, f"these are no ids of rows of {' or '.join(DTYPES)}")
    return _Listed(dtype, width, ids, {line[0]: line[1] for line in listed if isinstance(line, list)}, end)


def _is_json(line: bytes) -> bool:
    try:
        json_value(line)
    except ValueError:
        return False
    return True


def _crc(name: str, row: np.ndarray) -> int:
    return zlib.crc32(row.tobytes(), zlib.crc32(name.encode("utf-8", "surrogatepass")))


def _required_bytes(file: Path, listed: _Listed) -> int:
    rows_file = _rows_file(file)
    required = len(listed.ids) * listed.width * np.dtype(listed.dtype).itemsize
    found = rows_file.stat().st_size if rows_file.exists() else 0
    if found < required:
        raise ValueError(f"{rows_file} is damaged ({found} bytes of {required}); delete it and {file.name}")
    return required


def _damaged(file: Path, reason: object) -> ValueError:
    rows_file = _rows_file(file).name
    return ValueError(f"{file} is damaged ({reason}); delete it and {rows_file}, and its rows are made again")


def _rows_file(file: Path) -> Path:
    return file.with_name(file.name.removesuffix(SUFFIX) + ".rows")


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _write(file: BinaryIO, content: bytes) -> None:
    file.write(content)
    sync_file(file)

"""Sentence embeddings on disk: each text is encoded once by each model."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np

from diptych.contracts.news import SentenceEncoder

log = logging.getLogger(__name__)

_FORMAT = 1  # raise it when the same model and text begin to give another embedding
FILE = "embeddings.sqlite"
_TABLE = "CREATE TABLE IF NOT EXISTS embedding (key BLOB PRIMARY KEY, vector BLOB NOT NULL, crc INTEGER)"
_ENCODED_AT_ONCE = 16_384  # texts; a killed process loses at most what it had encoded of so many
_ASKED_AT_ONCE = 500  # keys of one query; old SQLite builds take no more than 999
_WAIT = 300.0  # seconds for another process to finish writing


class CachedEncoder:
    """A SentenceEncoder that keeps what `encoder` gives in one SQLite file under `folder`, and asks it only for more.

    - Embeddings are found by the model's name and the text. (Other weights under the same name are not noticed.)
    - Several processes may share the folder. Embeddings are written in transactions: a kill leaves a whole file.
    - Values are float32 and come back bit for bit: one that does not have its checksum is encoded again, which is
      logged. (Files of earlier versions are read on; what they hold has no checksums.)

    The file needs about 1.6 kB a text for 384 dimensions. Construction does no I/O; objects can be pickled if the
    encoder can.
    """

    writes: ClassVar[Mapping[str, str]] = {"folder": FILE}

    def __init__(self, encoder: SentenceEncoder, folder: str | Path) -> None:
        self.encoder = encoder
        self.name = encoder.name
        self.file = Path(folder) / FILE

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings (N, E) in the order of the texts; equal texts are encoded once.

        Raises:
            ValueError: the file cannot be read or written, or holds embeddings of another length for this model.
        """
        keys = [self._key(text) for text in texts]
        missing = dict(zip(keys, texts, strict=True))
        vectors: dict[bytes, np.ndarray] = {}
        with self._connection() as connection:
            damaged = []
            for key, vector, checksum in _read(connection, list(missing)):
                if _is_intact(key, vector, checksum):
                    vectors[key] = np.frombuffer(vector, np.float32)
                    del missing[key]
                else:
                    damaged.append((key,))
        if damaged:
            log.warning("%s: %d embeddings are not as they were written; encoding them again", self.file, len(damaged))
            with self._connection() as connection:
                connection.executemany("DELETE FROM embedding WHERE key = ?", damaged)
        for part in _parts(list(missing), _ENCODED_AT_ONCE):
            # Outside the connection: nobody waits for a lock while the encoder works.
            rows = np.ascontiguousarray(self.encoder.encode([missing[key] for key in part]), np.float32)
            encoded = dict(zip(part, rows, strict=True))
            with self._connection() as connection:
                if not _has_checksums(connection):
                    connection.execute("BEGIN IMMEDIATE")  # several processes may find an earlier version's file
                    if not _has_checksums(connection):
                        connection.execute("ALTER TABLE embedding ADD COLUMN crc INTEGER")
                values = ((key, row.tobytes(), _crc(key, row.tobytes())) for key, row in encoded.items())
                connection.executemany("INSERT OR IGNORE INTO embedding VALUES (?, ?, ?)", values)
            vectors |= encoded
        lengths = {len(vector) for vector in vectors.values()}
        if len(lengths) > 1:
            raise ValueError(
                f"{self.file} holds embeddings of {self.name!r} of other lengths: {sorted(lengths)}; was another model"
                " called so? Delete the file, and it is made again"
            )
        return np.stack([vectors[key] for key in keys]) if keys else self.encoder.encode([])

    def _key(self, text: str) -> bytes:
        return hashlib.sha256(f"{_FORMAT}\0{self.name}\0{text}".encode("utf-8", "surrogatepass")).digest()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """One transaction. A connection of its own for each: it survives forks, threads and pickling."""
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.file, timeout=_WAIT)) as connection, connection:
                connection.execute(_TABLE)
                yield connection
        except (OSError, sqlite3.Error, UnicodeDecodeError) as error:
            raise ValueError(
                f"{self.file} cannot be used ({error}); name a folder with room that can be written, or delete a"
                " damaged file, and it is made again"
            ) from None


def check_sentences(file: Path) -> int:
    """Reads every embedding; returns their number.

    Raises:
        ValueError: the file cannot be read, or embeddings are not as they were written (those are encoded again when
            they are asked for).
    """
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=_WAIT)) as connection:
            checksum = "crc" if _has_checksums(connection) else "NULL"
            rows = connection.execute(f"SELECT key, vector, {checksum} FROM embedding")
            intact = [_is_intact(*row) for row in rows]
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be used ({error}); delete it, and it is made again") from None
    if not all(intact):
        raise ValueError(f"{file}: {intact.count(False)} embeddings are damaged; they are encoded again when asked for")
    return len(intact)


def _is_intact(key: bytes, vector: object, checksum: int | None) -> bool:
    return isinstance(vector, bytes) and not len(vector) % 4 and checksum in (None, _crc(key, vector))


def _read(connection: sqlite3.Connection, keys: Sequence[bytes]) -> Iterator[tuple[bytes, bytes, int | None]]:
    checksum = "crc" if _has_checksums(connection) else "NULL"
    for part in _parts(keys, _ASKED_AT_ONCE):
        marks = ", ".join("?" * len(part))
        yield from connection.execute(f"SELECT key, vector, {checksum} FROM embedding WHERE key IN ({marks})", part)


def _has_checksums(connection: sqlite3.Connection) -> bool:
    return any(column[1] == "crc" for column in connection.execute("PRAGMA table_info(embedding)"))


def _crc(key: bytes, vector: bytes) -> int:
    return zlib.crc32(vector, zlib.crc32(key))


def _parts(keys: Sequence[bytes], size: int) -> Iterable[Sequence[bytes]]:
    return (keys[start : start + size] for start in range(0, len(keys), size))

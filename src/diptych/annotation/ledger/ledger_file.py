"""The file of a ledger: its tables, one writer at a time, and which of the processes that work on it are alive."""

from __future__ import annotations

import os
import secrets
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_BEAT_S, _DEAD_AFTER_S = 5.0, 60.0  # a live process says so this often, and is given up after this long a silence
_BUSY_S = 60.0  # how long a write waits for other processes

_SCHEMA = """
CREATE TABLE IF NOT EXISTS questions(
    key TEXT PRIMARY KEY, stage TEXT NOT NULL, record_id TEXT NOT NULL, model TEXT NOT NULL,
    num_input_tokens INTEGER NOT NULL, max_tokens INTEGER NOT NULL, price_factor REAL NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending', text TEXT, finish_reason TEXT, usage TEXT, latency_s REAL,
    reason TEXT, message TEXT, owner TEXT, batch TEXT);
CREATE INDEX IF NOT EXISTS in_flight ON questions(owner) WHERE state = 'sent';
CREATE INDEX IF NOT EXISTS of_batch ON questions(batch) WHERE batch IS NOT NULL;
CREATE TABLE IF NOT EXISTS charges(
    id INTEGER PRIMARY KEY, stage TEXT NOT NULL, model TEXT NOT NULL, price_factor REAL NOT NULL,
    num_input_tokens INTEGER NOT NULL, num_output_tokens INTEGER NOT NULL, lost INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS owners(owner TEXT PRIMARY KEY, host TEXT, pid INTEGER, started TEXT, beat REAL);
CREATE TABLE IF NOT EXISTS batches(
    token TEXT PRIMARY KEY, input_file_id TEXT NOT NULL, batch_id TEXT, state TEXT, owner TEXT NOT NULL);
"""


class LedgerFile:
    """The SQLite file at `path`, made on first use with its folder. Construction does no I/O.

    An instance is an owner of what it has sent: it says that it lives from its first claim until it is closed. Threads
    may share it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.owner = secrets.token_hex(8)
        self.lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._beating: threading.Event | None = None

    def close(self) -> None:
        """Closes the file; later calls open it again. What this process has sent alone is then abandoned."""
        with self.lock:
            if self._beating is not None:
                self._beating.set()
                with self.writing() as connection:
                    connection.execute("DELETE FROM owners WHERE owner = ?", (self.owner,))
                self._beating, self.owner = None, secrets.token_hex(8)
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    # ------------------------------------------------------------------------------------------------ the tables

    def open(self) -> sqlite3.Connection:
        """The connection, the tables made. ValueError where the file is none of ours."""
        if self._connection is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                connection = sqlite3.connect(
                    self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=256
                )
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(_SCHEMA)
            except sqlite3.DatabaseError as error:
                raise ValueError(f"{self.path} cannot be used as a ledger ({error}); name another file") from None
            self._connection = connection
        return self._connection

    def read(self, statement: str, values: Sequence[object] = ()) -> list[tuple]:
        """The rows of a query."""
        with self.lock:
            return self.open().execute(statement, values).fetchall()

    @contextmanager
    def writing(self, synchronous: str = "FULL") -> Iterator[sqlite3.Connection]:
        """One transaction, which other threads and processes wait for; an error undoes it."""
        with self.lock:
            connection = self.open()
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    # ------------------------------------------------------------------------------------------------ who lives

    def lives(self, owner: str | None) -> bool:
        """Whether the process that was this owner still runs, as far as can be known."""
        if owner == self.owner:
            return self._beating is not None
        rows = self.read("SELECT host, pid, started, beat FROM owners WHERE owner = ?", (owner,))
        if not rows or time.time() - rows[0][3] > _DEAD_AFTER_S:
            return False
        host, pid, started, _ = rows[0]
        return host != socket.gethostname() or _started(pid) == started

    def beat_from_now_on(self) -> None:
        """This owner has sent something: from here on it says that it lives."""
        with self.lock:
            if self._beating is not None:
                return
            self._beating = threading.Event()
            with self.writing() as connection:
                connection.execute(
                    "INSERT OR REPLACE INTO owners VALUES (?, ?, ?, ?, ?)",
                    (self.owner, socket.gethostname(), os.getpid(), _started(os.getpid()), time.time()),
                )
            threading.Thread(target=self._beat, args=(self._beating,), daemon=True, name="ledger").start()

    def _beat(self, stopped: threading.Event) -> None:
        while not stopped.wait(_BEAT_S):
            with self.lock:
                if stopped.is_set():
                    return
                with self.writing() as connection:
                    connection.execute("UPDATE owners SET beat = ? WHERE owner = ?", (time.time(), self.owner))


def _started(pid: int) -> str | None:
    """When the process began, in the kernel's words, since its number may be given again; None when it is gone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # no such folder on this system
        return "unknown"
    return None if status[0] in ("Z", "X") else status[19]

"""The file of a ledger: its tables, one writer at a time, and which of the processes that work on it are alive."""

from __future__ import annotations

import os
import secrets
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from diptych.annotation.ledger.ledger_tables import UNREADABLE, check_rows, make_tables, seal_rows
from diptych.storage.checksums import Damaged
from diptych.storage.file_lock import lock_file, locked
from diptych.storage.whole import remove_unfinished, whole_file

# A live process says so this often; one of which no more can be known is given up after this long a silence.
_BEAT_S, _DEAD_AFTER_S = 5.0, 60.0
_FULL = ("database or disk is full", "disk I/O error", "unable to open database file")
_UNKNOWN = "unknown"
_BUSY_S = 60.0  # how long a write waits for other processes


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
        self._watched: dict[str, tuple[float, float]] = {}  # by owner: its last beat, and when it was first seen here

    def close(self) -> None:
        """Closes the file; later calls open it again. What this process has sent alone is then abandoned."""
        with self.lock:
            if self._beating is not None:
                self._beating.set()
                with suppress(ValueError), self.writing() as connection:  # else its silence will tell
                    connection.execute("DELETE FROM owners WHERE owner = ?", (self.owner,))
                self._beating, self.owner = None, secrets.token_hex(8)
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    # ------------------------------------------------------------------------------------------------ the tables

    def open(self) -> sqlite3.Connection:
        """The connection, the tables made and every row looked at (20 microseconds each).

        Raises:
            ValueError: the file is none of ours, or damaged: says which row.
        """
        if self._connection is None:
            try:
                if not self.path.exists():
                    self._make()
                if not self.path.stat().st_size:
                    raise Damaged("it is empty; if it never held anything, delete it")
                connection = sqlite3.connect(
                    self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=256
                )
                try:
                    connection.execute("PRAGMA journal_mode = WAL")
                    make_tables(connection)
                    check_rows(connection, self.path)
                    seal_rows(connection)
                except BaseException:
                    connection.close()
                    raise
            except (*UNREADABLE, OSError, Damaged) as error:
                if str(error) in _FULL[:2]:
                    raise self._failure(error) from None
                if str(self.path) in str(error):
                    raise
                raise ValueError(f"{self.path} cannot be used as a ledger ({error}); name another file") from None
            self._connection = connection
        return self._connection

    def _make(self) -> None:
        """Makes the file, which is never seen without its tables: an empty one is damaged."""
        with locked(lock_file(self.path)):
            remove_unfinished(self.path.parent, self.path.name)
            if not self.path.exists():  # another process may have made it meanwhile
                with whole_file(self.path) as temporary, closing(sqlite3.connect(temporary)) as connection:
                    connection.isolation_level = None
                    make_tables(connection)

    def read(self, statement: str, values: Sequence[object] = ()) -> list[tuple]:
        """The rows of a query."""
        with self.lock:
            try:
                return self.open().execute(statement, values).fetchall()
            except UNREADABLE as error:
                raise self._failure(error) from None

    @contextmanager
    def writing(self, synchronous: str = "FULL") -> Iterator[sqlite3.Connection]:
        """One transaction, which other threads and processes wait for; an error undoes it, and the next can begin.

        Raises:
            ValueError: nothing can be written, as on a full disk.
        """
        with self.lock:
            connection = self.open()
            try:
                connection.execute(f"PRAGMA synchronous = {synchronous}")
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._undo(connection)
                raise self._failure(error) from None
            except BaseException:
                self._undo(connection)
                raise

    def _undo(self, connection: sqlite3.Connection) -> None:
        with suppress(sqlite3.Error):  # a full disk has ended the transaction already
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _failure(self, error: BaseException) -> ValueError:
        said = str(error)
        if said in _FULL:
            what = "cannot be written; make room on the disk"
        elif "locked" in said:
            what = f"is held by another process for more than {_BUSY_S:.0f} s; see what it does"
        else:
            return Damaged(f"{self.path} is damaged ({said}); put a copy of it in its place, or name another file")
        return ValueError(f"{self.path} {what} ({said}). All answers in it are kept, and the same command goes on")

    # ------------------------------------------------------------------------------------------------ who lives

    def lives(self, owner: str | None) -> bool:
        """Whether the process that was this owner still runs, as far as can be known. One of this machine is known by
        its number and its beginning. Another one lives while its beats go on, or have been watched for less than a
        minute by this process's own clock, which nobody sets: clocks of two machines are never compared.
        """
        if owner == self.owner:
            return self._beating is not None
        rows = self.read("SELECT host, pid, started, beat FROM owners WHERE owner = ?", (owner,))
        if owner is None or not rows:
            return False
        host, pid, started, beat = rows[0]
        if host == _place() and (started != _UNKNOWN or _started(pid) is None):
            return _started(pid) == started
        seen, since = self._watched.get(owner, (None, 0.0))
        if beat != seen:
            seen, since = self._watched[owner] = beat, time.monotonic()
        return time.monotonic() - since <= _DEAD_AFTER_S

    def beat_from_now_on(self) -> None:
        """This owner has sent something: from here on it says that it lives."""
        with self.lock:
            if self._beating is not None:
                return
            self._beating = threading.Event()
            with self.writing() as connection:
                connection.execute(
                    "INSERT OR REPLACE INTO owners(owner, host, pid, started, beat) VALUES (?, ?, ?, ?, 0)",
                    (self.owner, _place(), os.getpid(), _started(os.getpid())),
                )
            threading.Thread(target=self._beat, args=(self._beating,), daemon=True, name="ledger").start()

    def _beat(self, stopped: threading.Event) -> None:
        while not stopped.wait(_BEAT_S):
            with self.lock:
                if stopped.is_set():
                    return
                with suppress(ValueError), self.writing() as connection:  # a full disk may have room again
                    connection.execute("UPDATE owners SET beat = beat + 1 WHERE owner = ?", (self.owner,))


def _place() -> str:
    """Where a process's number means the same: host, boot and, of a container, its own count of processes."""
    parts = [socket.gethostname()]
    with suppress(OSError):  # no such files on this system
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


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
        return _UNKNOWN
    return None if status[0] in ("Z", "X") else status[19]

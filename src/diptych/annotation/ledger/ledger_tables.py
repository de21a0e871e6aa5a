"""The tables of a ledger, with a checksum in every row: what damage has changed is named, never taken for an answer."""

from __future__ import annotations

import shlex
import sqlite3
import zlib
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from diptych.storage.checksums import Damaged

_CRC = ", crc INTEGER"  # the last column, which earlier versions did not have; NULL in the rows that they wrote
_TABLES = {
    "questions": "key TEXT PRIMARY KEY, stage TEXT NOT NULL, record_id TEXT NOT NULL, model TEXT NOT NULL,"
    " num_input_tokens INTEGER NOT NULL, max_tokens INTEGER NOT NULL, price_factor REAL NOT NULL,"
    " state TEXT NOT NULL DEFAULT 'pending', text TEXT, finish_reason TEXT, usage TEXT, latency_s REAL,"
    " reason TEXT, message TEXT, owner TEXT, batch TEXT",
    "charges": "id INTEGER PRIMARY KEY, stage TEXT NOT NULL, model TEXT NOT NULL, price_factor REAL NOT NULL,"
    " num_input_tokens INTEGER NOT NULL, num_output_tokens INTEGER NOT NULL, lost INTEGER NOT NULL",
    "owners": "owner TEXT PRIMARY KEY, host TEXT, pid INTEGER, started TEXT, beat REAL",
    "batches": "token TEXT PRIMARY KEY, input_file_id TEXT NOT NULL, batch_id TEXT, state TEXT, owner TEXT NOT NULL",
}
_INDEXES = (
    "CREATE INDEX in_flight ON questions(owner) WHERE state = 'sent'",
    "CREATE INDEX of_batch ON questions(batch) WHERE batch IS NOT NULL",
)
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)  # the latter of SQLite's own messages, which quote damaged bytes
_NAMED_AT_ONCE = 10  # damaged rows in one sentence


def make_tables(connection: sqlite3.Connection) -> None:
    """Makes what the file lacks of the tables, and of their columns, in one transaction.

    Raises:
        Damaged: the file has other tables than a ledger's.
    """
    if _lacking(connection):
        connection.execute("BEGIN IMMEDIATE")
        for statement in _lacking(connection):  # another process may have made them meanwhile
            connection.execute(statement)
        connection.execute("COMMIT")


def seal_rows(connection: sqlite3.Connection) -> None:
    """From here on every row that the connection writes gets its checksum."""
    connection.create_function("row_crc", -1, lambda *values: _crc(values), deterministic=True)
    for table in _TABLES:
        columns = ", ".join(_columns(connection, table)[:-1])
        for event in ("INSERT", f"UPDATE OF {columns}"):
            connection.execute(  # of this connection alone: other programs can write to the file
                f"CREATE TEMP TRIGGER {table}_{event[:6]} AFTER {event} ON main.{table} BEGIN"
                f" UPDATE {table} SET crc = row_crc({columns}) WHERE rowid = NEW.rowid; END"
            )


def check_rows(connection: sqlite3.Connection, path: Path) -> None:
    """Compares every row with its checksum, and the indexes with the rows; those without a checksum pass.

    Raises:
        Damaged: rows are not as they were written, and which, or some are gone.
        sqlite3.Error: the file cannot be read.
    """
    for table in _TABLES:
        damaged = _damaged_rows(connection, table)
        if damaged:
            named = list(damaged.items())[:_NAMED_AT_ONCE]
            rows = ", ".join(f"row {number} ({about})" for number, about in named)
            more = f" and {len(damaged) - len(named):,} more" if len(damaged) > len(named) else ""
            drop = f"REINDEX; DELETE FROM {table} WHERE rowid IN ({', '.join(str(number) for number, _ in named)})"
            raise Damaged(
                f"{path}: of its {table}, {rows}{more} not as written (the checksum differs); put a copy of the file in"
                f" its place, or drop what is damaged (a question is then asked, and paid, again):"
                f' sqlite3 {shlex.quote(str(path))} "{drop}"'
            )
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise Damaged(
            f"{path} is damaged between its rows ({' '.join(found.split())}); put a copy of it in its place, or keep"
            f' the rows that are found: sqlite3 {shlex.quote(str(path))} "REINDEX"'
        )


def check_ledger(path: Path, everything: bool = True) -> None:
    """Looks at a ledger without changing it: whether it is one, and with `everything` at every row.

    Raises:
        ValueError: it is damaged; says what to do.
    """
    mode = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)) as connection:
            lacking = _lacking(connection)
            if created := [statement for statement in lacking if statement.startswith("CREATE")]:
                raise Damaged(f"{path} is no whole ledger: it has no {created[0].partition('(')[0][7:].lower()}")
            if everything:
                check_rows(connection, path)
    except UNREADABLE as error:
        raise Damaged(f"{path} is damaged, or no ledger ({error}); put a copy of it in its place") from None


def _lacking(connection: sqlite3.Connection) -> list[str]:
    """The statements that are left to make a ledger of what is there."""
    rows = connection.execute("SELECT CAST(sql AS BLOB) FROM sqlite_master WHERE sql IS NOT NULL")
    statements = [sql.decode(errors="replace") for (sql,) in rows]
    found = {"".join(sql.split()): sql for sql in statements}
    lacking = []
    for table, columns in _TABLES.items():
        now, earlier = (f"CREATE TABLE {table}({columns}{crc})" for crc in (_CRC, ""))
        if found.pop("".join(earlier.split()), None):
            lacking.append(f"ALTER TABLE {table} ADD COLUMN{_CRC[1:]}")
        elif not found.pop("".join(now.split()), None):
            lacking.append(now)
    lacking += [index for index in _INDEXES if not found.pop("".join(index.split()), None)]
    if found:
        raise Damaged(f"what it holds is none of a ledger's: {next(iter(found.values()))[:60]!r}")
    return lacking


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]


def _damaged_rows(connection: sqlite3.Connection, table: str) -> dict[int, str]:
    """The numbers of the rows whose checksum differs, and what they seem to be."""
    columns = _columns(connection, table)
    if columns[-1] != "crc":
        return {}  # as earlier versions left it
    connection.text_factory = bytearray  # of damaged texts too; blobs are bytes
    try:
        rows = connection.execute(f"SELECT rowid, {', '.join(columns)} FROM {table} NOT INDEXED")
        return {
            number: ", ".join(map(_shown, values[:3]))
            for number, *values, checksum in rows
            if checksum is not None and checksum != _crc(values)
        }
    finally:
        connection.text_factory = str


def _shown(value: Any) -> str:
    return repr(value.decode(errors="replace") if isinstance(value, bytearray) else value)[:80]


def _crc(values: Iterable[Any]) -> int:
    return zlib.crc32(b"\0".join(map(_bytes, values)))


def _bytes(value: Any) -> bytes | bytearray:
    if isinstance(value, bytearray):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, bytes):
        return b"\xfe" + value  # begins no text in UTF-8, nor does the sign for NULL
    return b"\xff" if value is None else repr(value).encode()

"""SQLite files that may be a stranger's: one can hold programs (triggers, views, computed columns) that run when it is
read or written. Whoever opens one names the tables that belong there, and nothing else may be in it.
"""

from __future__ import annotations

import itertools
import os
import re
import sqlite3
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path
from typing import Any

from diptych.storage.regular_file import open_regular

_STEPS = 1_000_000  # of SQLite's machine, between two looks at whether a query has an end
_SPOKEN_OF_ANOTHER = bytes.fromhex("d9d505f920a163d7")  # how a journal ends that names a file to delete


def open_tables(file: Path, statements: Collection[str], mode: str, **settings: Any) -> sqlite3.Connection:
    """A connection to an SQLite file that holds tables and indexes of these `CREATE` statements alone, or some of them;
    `settings` as of `sqlite3.connect`, `mode` that of SQLite's URIs (`ro`, `rwc`, `ro&immutable=1`).

    Raises:
        sqlite3.DatabaseError: it holds anything else, or is no such file; says what.
        OSError: it is a pipe, a device, or cannot be read.
    """
    _check_files(file)
    connection: sqlite3.Connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode={mode}", uri=True, **settings)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        known = {_plain(statement) for statement in statements}
        query = "SELECT type, substr(name, 1, 80), substr(sql, 1, 10000) FROM sqlite_master WHERE sql IS NOT NULL"
        for kind, name, sql in connection.execute(query).fetchmany(len(known) + 1):
            if _plain(str(sql)) not in known:
                raise sqlite3.DatabaseError(f"its {kind} {name!r} does not belong there")
    except BaseException:
        connection.close()
        raise
    return connection


def check_pages(file: Path, statements: Collection[str], most_bytes: int) -> None:
    """Reads all of a file, if it is there: none of its tables leads back into itself, so that queries of it end.

    Raises:
        sqlite3.DatabaseError: as `open_tables`, it is larger than `most_bytes`, or is damaged.
        OSError: as `open_tables`.
    """
    if not file.exists():
        return
    if file.stat().st_size > most_bytes:
        raise sqlite3.DatabaseError(f"it has more than {most_bytes:,} bytes")
    with closing(open_tables(file, statements, "rw")) as connection:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(f"it is damaged: {str(found).splitlines()[-1][:200]}")


def end_queries(connection: sqlite3.Connection, num_bytes: int) -> None:
    """From here on the connection's query is interrupted (sqlite3.OperationalError) once it has taken many more steps
    than a table of so many bytes can be worth.
    """
    connection.set_progress_handler(_patience(num_bytes), _STEPS)


def _patience(num_bytes: int) -> Callable[[], bool]:
    looks = itertools.count()
    return lambda: next(looks) > 10 + 10 * num_bytes // _STEPS


def _check_files(file: Path) -> None:
    """That the file, and what SQLite takes for its journals, are files of that folder."""
    if file.exists():
        open_regular(file).close()
    for ending in ("-journal", "-wal", "-shm"):
        beside = Path(f"{file}{ending}")
        if beside.is_symlink():
            raise sqlite3.DatabaseError(f"{beside.name} beside it is a link, and SQLite would write there")
        if ending == "-journal" and _speaks_of_another(beside):
            raise sqlite3.DatabaseError(f"{beside.name} beside it names another file, which would be deleted")


def _speaks_of_another(journal: Path) -> bool:
    """Of none, if it is gone: while others write, theirs come and go."""
    try:
        with open_regular(journal) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - len(_SPOKEN_OF_ANOTHER)))
            return file.read() == _SPOKEN_OF_ANOTHER
    except FileNotFoundError:
        return False


def _plain(statement: str) -> str:
    return re.sub(r'[\s"]|\bIF NOT EXISTS\b', "", statement)

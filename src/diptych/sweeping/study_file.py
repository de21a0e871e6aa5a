"""The study in a sweep's folder: an SQLite file of Optuna's, which may be a stranger's."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy
from optuna.storages import RDBStorage

from diptych.storage.sqlite_files import check_pages, open_tables

FILE = "optuna.db"
_MOST_BYTES = 2**26  # a trial takes a kilobyte or two


@contextmanager
def asking_study(where: str) -> Iterator[None]:
    """What goes wrong in the block, in which Optuna reads and writes a study, is a ValueError of one sentence that says
    where the study lies.
    """
    try:
        yield
    except Exception as error:  # the database, SQLAlchemy and Optuna each raise their own kinds
        reason = (str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{where} cannot be used as a study of a sweep ({reason[:300]}). Put a copy of it in its place, or, if it"
            " is your own and another Optuna made it, name it: hydra.sweeper.storage=sqlite:///FILE"
        ) from error


def open_study_file(folder: Path) -> RDBStorage:
    """Optuna's storage in the sweep's folder, made if there is none.

    Raises:
        sqlite3.Error, OSError, SQLAlchemyError: it holds anything but Optuna's own tables, or is damaged.
    """
    file = folder / FILE
    check_pages(file, _tables(), _MOST_BYTES)

    def connect() -> sqlite3.Connection:
        return open_tables(file, _tables(), "rwc", check_same_thread=False)

    return RDBStorage(f"sqlite:///{file}", engine_kwargs={"creator": connect})


@functools.cache
def _tables() -> frozenset[str]:
    """The statements with which the installed Optuna makes its tables."""
    with RDBStorage("sqlite://").engine.connect() as connection:
        rows = connection.execute(sqlalchemy.text("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"))
        return frozenset(row[0] for row in rows)

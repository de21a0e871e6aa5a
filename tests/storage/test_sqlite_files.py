"""An SQLite file is opened only where it holds the tables that belong there, and nothing that acts."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

import pytest

from diptych.storage import sqlite_files
from diptych.storage.sqlite_files import check_pages, end_queries, open_tables

TABLE = "CREATE TABLE word (name TEXT PRIMARY KEY, number INTEGER)"
INDEX = "CREATE INDEX of_number ON word (number)"
ENDLESS = "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT"


@pytest.fixture
def file(tmp_path):
    return made(tmp_path / "words.sqlite", TABLE, INDEX, "INSERT INTO word VALUES ('a', 1)")


def made(path, *statements):
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return path


def rows(path, mode="ro"):
    with closing(open_tables(path, (TABLE, INDEX), mode)) as connection:
        return connection.execute("SELECT name, number FROM word").fetchall()


def test_ones_own_is_read_and_made(file, tmp_path):
    assert rows(file) == rows(file, "rwc") == rows(file, "ro&immutable=1") == [("a", 1)]
    check_pages(file, (TABLE, INDEX), 2**20)
    check_pages(tmp_path / "absent", (), 0)
    with closing(open_tables(tmp_path / "new ?#%.sqlite", (TABLE,), "rwc")) as connection:
        connection.execute(TABLE.replace("TABLE", "TABLE IF NOT EXISTS"))
    assert rows(tmp_path / "new ?#%.sqlite") == []


@pytest.mark.hostile("hostile files")
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON word BEGIN DELETE FROM word; END",
        f"CREATE VIEW v AS {ENDLESS} x FROM r",
        "CREATE VIRTUAL TABLE v USING fts5(a)",
        "CREATE TABLE more (x)",
        "CREATE INDEX e ON word (hex(name))",
        "CREATE INDEX p ON word (name) WHERE number > 1",
        "ALTER TABLE word ADD COLUMN g AS (hex(zeroblob(1000000000)))",
        "ALTER TABLE word ADD COLUMN d DEFAULT 'x'",
    ],
)
@pytest.mark.parametrize("mode", ["ro", "rwc"])
def test_what_else_is_in_a_file_keeps_it_shut(file, statement, mode):
    made(file, statement)
    with pytest.raises(sqlite3.DatabaseError, match="does not belong there"):
        rows(file, mode)


@pytest.mark.hostile("hostile files")
@pytest.mark.parametrize("ending", ["-journal", "-wal", "-shm"])
def test_a_link_where_sqlite_would_write(file, tmp_path, ending):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / f"words.sqlite{ending}").symlink_to(tmp_path / "mine")
    with pytest.raises(sqlite3.DatabaseError, match=rf"words\.sqlite{ending} beside it is a link"):
        rows(file, "rwc")
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.hostile("hostile files")
def test_a_journal_that_has_another_file_deleted(file, tmp_path):
    """Of what several databases have written at once, SQLite deletes the file that names their journals."""
    victim = tmp_path / "mine"
    victim.write_text("mine")
    magic, name = bytes.fromhex("d9d505f920a163d7"), os.fsencode(victim)
    header = magic + b"".join(number.to_bytes(4, "big") for number in (0, 7, file.stat().st_size // 4096, 512, 4096))
    sealed = name + len(name).to_bytes(4, "big") + sum(name).to_bytes(4, "big") + magic
    (tmp_path / "words.sqlite-journal").write_bytes(header.ljust(512, b"\0") + bytes(4) + sealed)
    with pytest.raises(sqlite3.DatabaseError, match="names another file, which would be deleted"):
        rows(file, "rwc")
    assert victim.exists()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("SELECT * FROM word").fetchall()
    assert not victim.exists()  # as it would have gone


@pytest.mark.hostile("hostile files")
def test_what_is_no_file_and_what_is_too_large(file, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a pipe"):
        rows(tmp_path / "pipe")
    (tmp_path / "text").write_text("no database" * 100)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        rows(tmp_path / "text")
    os.truncate(file, 2**40)
    with pytest.raises(sqlite3.DatabaseError, match="more than 1,000 bytes"):
        check_pages(file, (TABLE, INDEX), 1000)


@pytest.mark.hostile("hostile files")
def test_damaged_pages_are_found(file):
    made(file, *(f"INSERT INTO word VALUES ('word {number}', {number})" for number in range(2, 400)))
    content = bytearray(file.read_bytes())
    content[2 * 4096 + 3] ^= 0x41
    file.write_bytes(content)
    with pytest.raises(sqlite3.DatabaseError, match=r"damaged|malformed"):
        check_pages(file, (TABLE, INDEX), 2**30)


@pytest.mark.hostile("hostile files")
def test_a_query_without_an_end_is_stopped(monkeypatch):
    monkeypatch.setattr(sqlite_files, "_STEPS", 100_000)
    with closing(sqlite3.connect(":memory:")) as connection:
        end_queries(connection, 1000)
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            connection.execute(f"{ENDLESS} count(*) FROM r").fetchall()

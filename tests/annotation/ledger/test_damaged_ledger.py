"""A damaged ledger is named, with its row, and the rows beside it can be kept; earlier versions' ledgers go on."""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from damaged_stores import STORES, inflict
from diptych.annotation.ledger import ledger_file
from diptych.annotation.ledger.ledger import Ledger
from diptych.annotation.ledger.ledger_tables import check_ledger
from diptych.contracts.pipelines import Answer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    STORES["ledger"].make(tmp_path)
    return tmp_path / "ledger.sqlite"


def turn(path: Path, content: bytes) -> None:
    whole = path.read_bytes()
    assert whole.count(content) == 1
    inflict(path.parent, Path(path.name), whole.index(content), 0)


@pytest.mark.hostile("damage")
@pytest.mark.parametrize("content", ["Bäcker, 0".encode(), b"k0describe"])
def test_a_damaged_row_is_named_and_what_is_said_to_do_keeps_the_others(path, content):
    turn(path, content)
    with pytest.raises(ValueError, match=r"ledger\.sqlite: of its questions, row 1 \(.*describe.*'pair 0'\)") as caught:
        Ledger(path).counts()
    (script,) = re.findall(r'sqlite3 \S+ "(.*)"$', str(caught.value))
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    with Ledger(path) as ledger:
        assert list(ledger.settled(["k0", "k1", "k3"])) == ["k1", "k3"]
        assert ledger.usage("describe")["requests"] == 2


@pytest.mark.hostile("damage")
@pytest.mark.parametrize("change", ["key = 'none'", "text = CAST(text AS BLOB)", "state = 'pending'", "usage = NULL"])
def test_no_change_of_a_row_goes_unnoticed(path, change):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE questions SET {change} WHERE key = 'k1'")
    with pytest.raises(ValueError, match="row 2"):
        Ledger(path).settled(["k1"])


@pytest.mark.hostile("damage")
def test_a_damaged_key_of_the_index_is_no_new_question(path):
    turn(path, b"k1\x02")  # in the index: the key, and the number of its row
    with pytest.raises(ValueError, match="damaged between its rows"):
        Ledger(path).counts()


@pytest.mark.hostile("damage")
def test_an_emptied_file_is_no_new_ledger(path):
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="ledger.sqlite cannot be used as a ledger .it is empty"):
        Ledger(path).counts()


@pytest.mark.hostile("hostile files")
@pytest.mark.parametrize("statement", ["CREATE VIEW more AS SELECT 1", "CREATE TABLE more(a)"])
def test_a_table_that_is_none_of_a_ledgers(path, statement):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
    with pytest.raises(ValueError, match="cannot be used as a ledger .*more"):
        Ledger(path).counts()


def test_the_doctor_looks_without_changing_anything(path):
    before = path.read_bytes(), sorted(path.parent.iterdir())
    check_ledger(path)
    assert (path.read_bytes(), sorted(path.parent.iterdir())) == before
    with Ledger(path) as ledger:  # while it is open
        ledger.claim("k4")
        check_ledger(path)


def test_an_earlier_versions_ledger_goes_on_and_its_new_rows_are_checked(path):
    content = STORES["ledger"].read(path.parent)
    with closing(sqlite3.connect(path)) as connection:
        for table in ("questions", "charges", "owners", "batches"):
            connection.execute(f"ALTER TABLE {table} DROP COLUMN crc")
    check_ledger(path)
    assert STORES["ledger"].read(path.parent) == content
    with Ledger(path) as ledger:
        ledger.claim("k4")
        ledger.answered("k4", Answer("new", "stop", {}, 0.1))
        assert ledger.settled(["k0", "k4"]).keys() == {"k0", "k4"}
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT key FROM questions WHERE crc IS NOT NULL").fetchall() == [("k4",)]


@pytest.mark.hostile("limits")
@pytest.mark.parametrize("skew_s", [0.0, 1e6, -1e6])
def test_clocks_of_two_machines_are_not_compared(path, monkeypatch, skew_s):
    with Ledger(path) as other, Ledger(path) as ledger:
        other.claim("k4")
        monkeypatch.setattr(ledger_file.socket, "gethostname", lambda: "another machine")
        wall, own = time.time() + skew_s, time.monotonic()
        monkeypatch.setattr(time, "time", lambda: wall)
        monkeypatch.setattr(time, "monotonic", lambda: own)
        assert not ledger.claim("k4")
        own += 59
        assert not ledger.claim("k4")
        with other._file.writing() as connection:  # as its thread does
            connection.execute("UPDATE owners SET beat = beat + 1")
        own += 59
        assert not ledger.claim("k4")
        own += 59
        assert not ledger.claim("k4")
        own += 2
        assert ledger.claim("k4") and ledger.usage("describe")["lost"] == 1

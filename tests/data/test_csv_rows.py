from __future__ import annotations

import csv
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.data.csv_rows import load_rows
from diptych.storage.json_values import encodable


def load(tmp_path, content: str | bytes):
    path = tmp_path / "rows.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_rows(path, "docs/openevents.md")


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_cells_stay_text(tmp_path, ending, mark):
    lines = (mark + "id,text", '0012,"a, ""b""', "", 'c"', "", "12e4567890123456,\u2028x\0\t", "1.0,")
    first, second, third = load(tmp_path, ending.join(lines) + ending)
    assert first.data == {"id": "0012", "text": f'a, "b"{ending}{ending}c'}
    assert second.data == {"id": "12e4567890123456", "text": "\u2028x\ufffd\t"}
    assert third.data == {"id": "1.0", "text": ""}
    assert [record.where.partition(", ")[2] for record in (first, second, third)] == ["line 2", "line 6", "line 7"]


def test_without_a_last_line_break(tmp_path):
    assert [record.data for record in load(tmp_path, "id\na")] == [{"id": "a"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no rows in it"),
        ("id,text\n\n", "no rows in it"),
        ("id,text,id\n1,2,3\n", r"rows\.csv, line 1: the header names the column 'id' twice"),
        ('id,text\n1,"a\nb"\n2,c,d\n', r"line 4: 3 cells, but the header has 2 columns \(id, text\)"),
        ("id,text\n1\n", "line 2: 1 cells, but the header has 2"),
        ('id,text\n1,"a\n2,b\n', r"the row from line 2: not valid CSV \(.*is a quote not closed"),
        ('id,text\n1,a\n2,"b"c\n', "the row from line 3: not valid CSV"),
        ('id,text\n1,"' + "a" * 140_000, "the row from line 2: not valid CSV"),
        ("id\0,id\x01\n1,2\n", r"rows\.csv, line 1: the header names the column 'id\ufffd' twice"),
        (b"id\n\xff\n", r"not a UTF-8 text file \(byte 0xff\); save it as UTF-8$"),
        ("id\na\n".encode("utf-16"), r"not a UTF-8 text file \(byte 0xff\)"),
        (b"id\ncaf\xe9\n", r"not a UTF-8 text file \(byte 0xe9\)"),
        ("\0" * 200_000, "the row from line 1: not valid CSV"),
    ],
)
def test_what_is_wrong_and_where(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, content)


@pytest.mark.hostile("hostile files")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "rows.csv")
    with pytest.raises(ValueError, match=r"rows\.csv cannot be read: it is a pipe"):
        load_rows(tmp_path / "rows.csv", "docs/openevents.md")


@given(st.lists(st.lists(st.text(), min_size=2, max_size=2), min_size=1))
def test_any_text_in_any_cell_is_read_and_read_again(tmp_path_factory, rows):
    """What a program writes in Python's way of CSV; the second reading has the texts of the first."""
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    for _ in range(2):
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["id", "text"], *rows])
        found = [[record.data["id"], record.data["text"]] for record in load_rows(path, "docs/openevents.md")]
        assert found == [[encodable(cell) for cell in cells] for cells in rows]
        rows = found


def test_absent_file(tmp_path):
    with pytest.raises(ValueError, match=r"x\.csv is not there; docs/openevents\.md"):
        load_rows(tmp_path / "x.csv", "docs/openevents.md")
    with pytest.raises(ValueError, match="cannot be read"):
        load_rows(tmp_path, "docs/openevents.md")

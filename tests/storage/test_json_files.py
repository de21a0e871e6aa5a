"""JSON and JSON lines: written whole, read with file and line in every error."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from diptych.storage.json_files import each_json_line, read_json, read_json_lines, write_json, write_json_lines

RECORDS = [{"id": "a", "text": "line\u2028separator, é"}, {"id": "b", "value": [1, None]}]


def test_what_is_written_is_read_again(tmp_path):
    write_json(tmp_path / "deep/a.json", RECORDS[0])
    assert (tmp_path / "deep/a.json").read_bytes().isascii()
    assert (tmp_path / "deep/a.json").read_text() == json.dumps(RECORDS[0], indent=2) + "\n"
    assert read_json(tmp_path / "deep/a.json") == RECORDS[0]
    write_json_lines(tmp_path / "a.jsonl", iter(RECORDS))
    assert "é" in (tmp_path / "a.jsonl").read_text(encoding="utf-8")
    assert read_json_lines(tmp_path / "a.jsonl") == RECORDS
    assert read_json_lines(tmp_path / "a.jsonl", "id") == {record["id"]: record for record in RECORDS}
    write_json_lines(tmp_path / "a.jsonl", RECORDS, ascii_only=True)
    assert (tmp_path / "a.jsonl").read_bytes().isascii() and read_json_lines(tmp_path / "a.jsonl") == RECORDS
    write_json_lines(tmp_path / "a.jsonl", [])
    assert (tmp_path / "a.jsonl").read_bytes() == b"" and read_json_lines(tmp_path / "a.jsonl") == []


def test_what_cannot_be_json_leaves_the_file_as_it_was(tmp_path):
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": {1, 2}})
    with pytest.raises(TypeError):
        write_json_lines(tmp_path / "a.json", [1, {1, 2}])
    assert read_json(tmp_path / "a.json") == 1 and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1,\n "b": }', r"a\.json:2: not JSON \(Expecting value, column 7\); make it again$"),
        (b"", r"a\.json:1: not JSON .*; make it again$"),
        (b'{"a":\n"\xe9"}', r"a\.json:2: not JSON \(not UTF-8 text: byte 0xe9\); make it again$"),
        (b"[" * 100_000, r"a\.json:1: .*nested more than 100 times.*; make it again$"),
        (b"1" * 10_000, r"a\.json:1: .*a number of more than.*; make it again$"),
        (None, r"a\.json is not there; make it again$"),
    ],
)
def test_a_file_that_is_no_json_is_named_with_its_line(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_json(tmp_path / "a.json", "make it again")


def test_a_byte_order_mark_is_none_of_the_content(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbf1\n2\n")
    assert read_json_lines(tmp_path / "a") == [1, 2]


def test_what_is_absent_or_a_folder(tmp_path):
    assert read_json(tmp_path / "a", missing_ok=True) is None
    assert read_json_lines(tmp_path / "a", missing_ok=True) == [] and not read_json_lines(
        tmp_path / "a", "id", missing_ok=True
    )
    for read in (read_json, read_json_lines):
        with pytest.raises(ValueError, match="a is not there$"):
            read(tmp_path / "a")
        with pytest.raises(ValueError, match=f"{tmp_path} cannot be read: it is a folder; name a file$"):
            read(tmp_path, missing_ok=True)


def test_pairs_sees_the_keys_that_a_dict_would_hide(tmp_path):
    def refuse(pairs):
        raise ValueError(f"{len(pairs)} pairs")

    (tmp_path / "a").write_text('{"a": 1, "a": 2}')
    with pytest.raises(ValueError, match=r"a: key 'a' stands twice in one object, as its 1\. and 2\.; correct it$"):
        read_json(tmp_path / "a", "correct it")
    assert read_json(tmp_path / "a", pairs=list) == [("a", 1), ("a", 2)]
    with pytest.raises(ValueError, match="^2 pairs$"):
        read_json(tmp_path / "a", pairs=refuse)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"id": "a"}\n\n{"id": "b"\n', r"a\.jsonl:3: not JSON .*column 11\); delete the file$"),
        ('{"id": "a"}\n[1]\n', r"a\.jsonl:2: expected an object with the text 'id'; delete the file$"),
        ('{"id": "a"}\n{"id": 2}\n', r"a\.jsonl:2: expected an object with the text 'id'"),
        ('{"id": "a"}\n{"id": "a"}\n', r"a\.jsonl:2: id 'a' occurs twice, first in .*a\.jsonl:1; delete one"),
        ('{"id": "\\ud83d"}\n{"id": "\\ud83e"}\n', r"a\.jsonl:2: id '\ufffd' occurs twice, first in .*a\.jsonl:1; del"),
        ('{"id": "a"}\n{"id": "b", "b": [{"c": 1, "c": 2}]}\n', r"a\.jsonl:2: key 'c' stands twice in one object"),
    ],
)
def test_a_line_that_is_no_record_is_named(tmp_path, content, message):
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_json_lines(tmp_path / "a.jsonl", "id", "delete the file")


def test_lines_come_one_at_a_time_with_their_place(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("1\n \n2\nbroken\n")
    lines = each_json_line(path)
    assert [next(lines), next(lines)] == [(f"{path}:1", 1), (f"{path}:3", 2)]
    with pytest.raises(ValueError, match=r"a\.jsonl:4: not JSON"):
        next(lines)


WRITER = """
import sys
from pathlib import Path
with Path(sys.argv[1]).open("ab") as file:
    file.write(b'{"id": "a"}\\n{"id": "b", "text": "ha')
    file.flush()
    print("written", flush=True)
    sys.stdin.read()
"""


def test_a_line_that_is_being_written_is_not_read(tmp_path):
    path = tmp_path / "a.jsonl"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert writer.stdout.readline() == "written\n"
        assert read_json_lines(path, "id", growing=True) == {"a": {"id": "a"}}
    finally:
        writer.kill()
        writer.communicate()
    assert read_json_lines(path, growing=True) == [{"id": "a"}]
    with pytest.raises(ValueError, match=r"a\.jsonl:2: not JSON"):
        read_json_lines(path)
    path.write_text('{"id": "a"}')  # of a program that ends its last line with nothing
    assert read_json_lines(path) == [{"id": "a"}] and read_json_lines(path, growing=True) == []

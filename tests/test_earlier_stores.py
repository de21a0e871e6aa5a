"""What versions without checksums wrote is read as it was, and goes on."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from damaged_stores import STORES
from diptych.storage.folder_checksums import CHECKSUMS
from diptych.storage.record_log import RecordLog


def _log(folder: Path) -> None:
    (folder / ".records.jsonl.crc").unlink()


def _part(folder: Path) -> None:
    path = folder / "parts/00000.ids.jsonl"
    header, *lines = path.read_text().splitlines()
    path.write_text("".join(f"{line}\n" for line in (header, *(json.dumps(json.loads(line)[0]) for line in lines))))


def _features(folder: Path) -> None:
    (path,) = folder.glob("*/index.json")
    path.write_text(json.dumps([row[:3] for row in json.loads(path.read_text())]))


def _prompts(folder: Path) -> None:
    (path,) = folder.glob("*/examples.npy")
    np.save(path, np.load(path)[:, :4])
    (path.parent / CHECKSUMS).unlink()


def _sentences(folder: Path) -> None:
    with sqlite3.connect(folder / "embeddings.sqlite") as connection:
        connection.execute("ALTER TABLE embedding DROP COLUMN crc")
        connection.execute("DELETE FROM embedding WHERE rowid = 1")  # which is encoded again


def _gallery(folder: Path) -> None:
    path = folder / "rooms.index"
    path.write_bytes(
        save(load(path.read_bytes()), {"format": "diptych gallery 1", "weights": "abc", "checkpoint": "best.ckpt"})
    )


def _pieces(folder: Path) -> None:
    path = folder / "last.ckpt/.metadata"
    path.write_bytes(path.read_bytes()[:-16])


EARLIER: dict[str, Callable[[Path], None]] = {
    "record log": _log,
    "part of an embedding store": _part,
    "feature cache": _features,
    "prepared prompts": _prompts,
    "sentence embeddings": _sentences,
    "gallery": _gallery,
    "checkpoint in pieces": _pieces,
}


@pytest.mark.parametrize("kind", EARLIER)
def test_it_is_read(tmp_path, kind):
    store, folder = STORES[kind], tmp_path / "store"
    contents = []
    for earlier in (lambda _: None, EARLIER[kind]):
        folder.mkdir()
        store.make(folder)
        earlier(folder)
        contents.append(store.read(folder))
        folder.rename(tmp_path / f"read-{len(contents)}")
    assert contents[0] == contents[1]


def test_a_log_gets_checksums_with_the_next_line(tmp_path):
    STORES["record log"].make(tmp_path)
    _log(tmp_path)
    log = RecordLog(tmp_path / "records.jsonl")
    log.append([{"query_id": "new"}])
    known = (tmp_path / ".records.jsonl.crc").read_bytes()
    lines = log.path.read_bytes().splitlines(keepends=True)
    assert known == b"".join(zlib.crc32(line).to_bytes(4, "little") for line in lines)


def test_lines_may_be_deleted_moved_and_added_by_hand_but_not_changed(tmp_path):
    STORES["record log"].make(tmp_path)
    log = RecordLog(tmp_path / "records.jsonl")
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(lines[3] + lines[1])
    assert list(log.read()) == ["photo 3", "photo 1"]
    log.path.write_bytes(b"".join(lines) + b'{"query_id": "mine"}\n')
    assert list(log.read())[-1] == "mine"
    log.path.write_bytes(b"".join([*lines[:2], lines[2].replace(b"B", b"b"), lines[3]]))
    with pytest.raises(ValueError, match=r"records\.jsonl:3 is not as it was written.*delete the line.*\.jsonl\.crc"):
        log.read()
    with pytest.raises(ValueError, match=r"records\.jsonl:3 is not as it was written"):
        RecordLog(log.path).append([{"query_id": "new"}])
    (tmp_path / ".records.jsonl.crc").unlink()
    assert len(log.read()) == 4


def test_lines_without_checksums_after_a_crash_pass(tmp_path):
    STORES["record log"].make(tmp_path)
    checksums = tmp_path / ".records.jsonl.crc"
    whole = checksums.read_bytes()
    for left in (whole[:8], whole[:6], b"", whole[:8] + bytes(8)):
        checksums.write_bytes(left)
        assert len(RecordLog(tmp_path / "records.jsonl").read()) == 4
    RecordLog(tmp_path / "records.jsonl").append([{"query_id": "new"}])
    assert checksums.read_bytes()[:16] == whole

"""Every store on a disk that is full for a while: one sentence, what was there stays, and the next start goes on."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from damaged_stores import STORES, _vectors
from diptych.index.embedding_store import EmbeddingStore, open_embeddings
from diptych.storage.record_log import RecordLog

RECORDS = [{"query_id": name, "caption": f"{name} sells bread"} for name in "abcd"]
FULL = r"disk is full|No space left on device"


class FullDisk:
    """Lets `os.fsync` fail, from now on or at its n-th call: the data are in the file then, or half of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls_left = -1
        monkeypatch.setattr(os, "fsync", self._sync)

    def _sync(self, descriptor: int) -> None:
        if self.calls_left == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.calls_left -= 1


@pytest.fixture
def disk(monkeypatch) -> FullDisk:
    return FullDisk(monkeypatch)


@pytest.mark.hostile("limits")
@pytest.mark.parametrize("half", [1, 10, 30, 0])
def test_a_log_goes_on_in_the_same_process(tmp_path, disk, half):
    log, whole = RecordLog(tmp_path / "records.jsonl"), RecordLog(tmp_path / "whole.jsonl")
    log.append(RECORDS[:1])
    before = log.path.read_bytes()
    disk.calls_left = 0
    with pytest.raises(OSError, match=rf"disk is full: .*{log.path}"):
        log.append(RECORDS[1:3])
    disk.calls_left = -1
    log.path.write_bytes(log.path.read_bytes()[: len(before) + half])  # what had room
    assert list(log.read()) == ["a"]
    log.append(RECORDS[1:])
    whole.append(RECORDS)
    assert log.path.read_bytes() == whole.path.read_bytes()
    assert list(log.read().values()) == RECORDS


@pytest.mark.hostile("limits")
@pytest.mark.parametrize("call", range(4))
def test_an_embedding_store_goes_on(tmp_path, disk, call):
    store, rows = EmbeddingStore(tmp_path), _vectors()
    store.append(rows[:1])
    disk.calls_left = call
    with pytest.raises(ValueError, match=rf"{tmp_path} does not take the embeddings: .*({FULL})"):
        store.append(rows[1:])
        store.finish([row["image_id"] for row in rows])
    disk.calls_left = -1
    again = EmbeddingStore(tmp_path)
    done = again.done()
    assert rows[0]["image_id"] in done
    again.append(row for row in rows if row["image_id"] not in done)
    again.finish([row["image_id"] for row in rows])
    assert open_embeddings(tmp_path).ids == [row["image_id"] for row in rows]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


@pytest.mark.hostile("limits")
@pytest.mark.parametrize("call", range(3))
@pytest.mark.parametrize("kind", ["feature cache", "prepared prompts", "article store", "gallery", "checkpoint"])
def test_what_is_written_whole_is_made_by_the_next_start(tmp_path, disk, kind, call):
    store, folder = STORES[kind], tmp_path / "store"
    folder.mkdir()
    disk.calls_left = call
    failed = _message(lambda: store.make(folder))
    disk.calls_left = -1
    assert not list(folder.rglob("*.tmp"))
    if failed is None:  # it needs fewer calls
        assert store.read(folder)
        return
    assert "disk is full" in failed and str(folder) in failed and "\n" not in failed
    store.make(folder)
    again = store.read(folder)
    shutil.rmtree(folder)
    folder.mkdir()
    store.make(folder)
    assert again == store.read(folder)


def _message(work: Callable[[], Any]) -> str | None:
    try:
        work()
    except (OSError, ValueError) as error:
        return str(error)
    return None


@pytest.mark.hostile("limits")
def test_a_checkpoint_that_found_no_room_leaves_the_one_before(tmp_path, disk):
    store = STORES["checkpoint"]
    store.make(tmp_path)
    before = files(tmp_path)
    disk.calls_left = 0
    assert "previous one, if any, is untouched" in (_message(lambda: store.make(tmp_path)) or "")
    assert files(tmp_path) == before

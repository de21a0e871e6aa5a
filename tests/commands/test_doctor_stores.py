"""The doctor on what Diptych has written."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from damaged_stores import STORES, checkpoint, inflict
from diptych.commands.main import run
from diptych.data.triplets.feature_cache import BackboneFeatures

KNOWN = [
    "record log",
    "part of an embedding store",
    "embedding store",
    "prepared prompts",
    "article store",
    "sentence embeddings",
    "checkpoint",
    "checkpoint in pieces",
    "gallery",
    "ledger",
]


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("stores")
    for kind in KNOWN:
        folder = root / kind
        folder.mkdir()
        STORES[kind].make(folder)
    cache = BackboneFeatures(root / "features", {"weights": "abc"})
    with cache.writing():
        STORES["feature cache"].make(cache.folder / "images")
    return root


@pytest.fixture
def folder(stores, tmp_path) -> Path:
    return shutil.copytree(stores, tmp_path / "run", symlinks=True)


@pytest.mark.parametrize("words", [[], ["checksums=true"]])
def test_whole_stores_are_healthy(folder, capsys, words):
    assert run("doctor", [f"run={folder}", *words]) == 0
    printed = capsys.readouterr().out
    assert f"{len(KNOWN) + 1} stores below {folder} can be opened" in printed
    assert ("all that they hold is as it was written" in printed) == bool(words)


@pytest.mark.hostile("damage")
@pytest.mark.parametrize(
    ("kind", "file", "content"),
    [
        ("record log", "records.jsonl", b"photo 2"),
        ("part of an embedding store", "parts/00000.rows", b""),
        ("embedding store", "embeddings.npy", b"\n"),
        ("prepared prompts", "*/tokens.npy", b"\n"),
        ("article store", "*.sqlite", b"3 loaves"),
        ("sentence embeddings", "*.sqlite", np.array([9, 65, 1, 2], np.float32).tobytes()),
        ("checkpoint", "last.ckpt", b"name: a"),
        ("checkpoint in pieces", "last.shards-0/*.distcp", checkpoint()["state_dict"]["weight"].numpy().tobytes()[:8]),
        ("gallery", "rooms.index", b"/images/2.jp"),
        ("ledger", "ledger.sqlite", b"timeou"),
        ("features", "*/images/*/tokens.npy", b"\n"),
    ],
)
def test_a_damaged_store_is_named(folder, capsys, kind, file, content):
    (path,) = (folder / kind).glob(file)
    whole = path.read_bytes()
    inflict(folder, path.relative_to(folder), whole.index(content) + len(content), 3)
    assert run("doctor", [f"run={folder}", "checksums=true"]) == 1
    printed = capsys.readouterr().out
    assert f"1 of {len(KNOWN) + 1} stores are damaged" in printed
    assert f"Damaged: {folder / kind}" in printed


def test_a_cut_checkpoint_is_seen_at_a_quick_look(folder, capsys):
    size = (folder / "checkpoint/last.ckpt").stat().st_size
    inflict(folder, Path("checkpoint/last.ckpt"), size - 9, None)
    assert run("doctor", [f"run={folder}"]) == 1
    assert "last.ckpt is damaged, or no checkpoint" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["gallery/rooms.index", "ledger/ledger.sqlite"])
def test_a_file_cut_in_half_is_seen_at_a_quick_look(folder, capsys, name):
    inflict(folder, Path(name), (folder / name).stat().st_size // 2, None)
    assert run("doctor", [f"run={folder}"]) == 1
    assert f"Damaged: {folder / name} is" in capsys.readouterr().out


def test_one_of_two_looks_is_named(tmp_path, capsys):
    assert run("doctor", [f"run={tmp_path / 'nowhere'}"]) == 2
    assert "nowhere is no folder" in capsys.readouterr().err
    assert run("doctor", [f"run={tmp_path}", "data=cirr"]) == 2
    assert "name one of them" in capsys.readouterr().err

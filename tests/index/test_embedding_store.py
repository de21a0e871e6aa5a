from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from diptych.index import embedding_part, embedding_store
from diptych.index.embedding_store import EmbeddingStore, open_embeddings

FILES = {"embeddings.npy", "ids.jsonl", "embeddings.json"}
ODD_IDS = ["", " ", "a\nb", '"', "\u2028", "é", "\ufffd", "\U0001f600", "00012e45"]


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    """What survives a kill of the process does not depend on it, and hundreds of times would take seconds."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def vectors(num: int, width: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((num, width)).astype(np.float32)


def records(ids, rows, key: str = "image_id") -> list[dict]:
    return [{key: name, "embedding": row} for name, row in zip(ids, rows, strict=True)]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def killed(work: Callable[[], object]) -> bool:
    """Runs it in a process of its own; whether that was killed (else it ended by itself)."""
    process = os.fork()
    if not process:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def kill_at(number: int) -> None:
    """From now on the process kills itself when it is about to touch the file system for the given time."""
    remaining = [number]

    def watch(event: str, _arguments: tuple) -> None:
        if event in {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree"}:
            if not remaining[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            remaining[0] -= 1

    sys.addaudithook(watch)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_rows_come_back_in_the_order_asked_for(tmp_path, dtype):
    rows, store = vectors(len(ODD_IDS)), EmbeddingStore(tmp_path / "s", dtype=dtype)
    assert store.done() == set()
    assert not (tmp_path / "s").exists()
    store.append(records(ODD_IDS[:3], rows[:3]))
    store.append([])
    store.append(iter(records(ODD_IDS[3:], rows[3:])))
    assert store.done() == EmbeddingStore(tmp_path / "s", dtype=dtype).done() == set(ODD_IDS)
    order = ODD_IDS[::-1]
    store.finish([*order[:2], "not there", *order[2:]])
    stored = open_embeddings(tmp_path / "s")
    assert stored.ids == order
    assert isinstance(stored.vectors, np.memmap)
    assert np.array_equal(stored.vectors, rows[::-1].astype(dtype))
    assert not stored.vectors.flags.writeable
    assert {path.name for path in (tmp_path / "s").iterdir()} == FILES
    assert store.done() == set(ODD_IDS)


def test_the_facts(tmp_path):
    import hashlib

    store = EmbeddingStore(tmp_path)
    store.append(records(["a", "b"], vectors(2)))
    store.finish(["b", "a"])
    rows = vectors(2)[::-1].astype(np.float16)
    assert json.loads((tmp_path / "embeddings.json").read_text()) == {
        "dtype": "float16",
        "width": 5,
        "count": 2,
        "ids_sha256": hashlib.sha256(b'"b"\n"a"\n').hexdigest(),
        "vectors_sha256": hashlib.sha256(rows.tobytes()).hexdigest(),
    }
    assert np.array_equal(np.load(tmp_path / "embeddings.npy"), rows)


def test_added_rows_join_those_that_are_finished_and_others_are_let_go(tmp_path):
    rows = vectors(6)
    first = EmbeddingStore(tmp_path)
    first.append(records("abc", rows[:3]))
    first.finish("abc")
    second = EmbeddingStore(tmp_path)
    assert second.done() == set("abc")
    second.append(records("de", rows[3:5]))
    second.finish("adbe")
    assert open_embeddings(tmp_path).ids == list("adbe")
    assert np.array_equal(open_embeddings(tmp_path).vectors, rows[[0, 3, 1, 4]].astype(np.float16))
    second.append(records("f", rows[5:]))  # by the same object, whose part is gone
    second.finish("fa")
    assert np.array_equal(open_embeddings(tmp_path).vectors, rows[[5, 0]].astype(np.float16))


def test_any_distribution_over_parts_gives_the_same_bytes(tmp_path):
    ids, rows = [f"{number:03d}" for number in range(50)], vectors(50)
    results = []
    for name, parts in (("one", [ids]), ("three", [ids[0::3], ids[2::3], ids[1::3]]), ("batches", [ids[:7], ids[7:]])):
        for number, part in enumerate(parts):
            store = EmbeddingStore(tmp_path / name, part=number)
            for start in range(0, len(part), 4):
                chosen = part[start : start + 4]
                store.append(records(chosen, rows[[int(chosen_id) for chosen_id in chosen]]))
        assert EmbeddingStore(tmp_path / name).done() == set(ids)
        EmbeddingStore(tmp_path / name).finish(ids)
        results.append(content(tmp_path / name))
    assert results[0] == results[1] == results[2]


def test_merging_in_blocks_changes_nothing(tmp_path, monkeypatch):
    ids, rows, order = [str(number) for number in range(40)], vectors(40), np.random.default_rng(1).permutation(40)
    for number in range(3):
        EmbeddingStore(tmp_path, part=number).append(records(ids[number::3], rows[number::3]))
    monkeypatch.setattr(embedding_store, "_ROWS_AT_ONCE", 7)
    EmbeddingStore(tmp_path).finish([ids[place] for place in order])
    assert np.array_equal(open_embeddings(tmp_path).vectors, rows[order].astype(np.float16))


def test_finishing_again_writes_nothing(tmp_path):
    store = EmbeddingStore(tmp_path)
    store.append(records("ab", vectors(2)))
    store.finish("ab")
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    store.finish("ab")
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_no_row_at_all(tmp_path):
    EmbeddingStore(tmp_path).finish(["a"])
    assert open_embeddings(tmp_path).ids == []
    assert open_embeddings(tmp_path).vectors.shape == (0, 0)
    store = EmbeddingStore(tmp_path)
    store.append(records("a", vectors(1)))
    store.finish("a")
    store.finish("b")  # every row is let go
    assert (open_embeddings(tmp_path).ids, open_embeddings(tmp_path).vectors.shape) == ([], (0, 5))


def test_an_id_may_come_again_with_the_same_bits(tmp_path):
    rows = vectors(3)
    store = EmbeddingStore(tmp_path)
    store.append(records("aab", rows[[0, 0, 1]]))
    store.append(records("ba", rows[[1, 0]]))
    EmbeddingStore(tmp_path, part=1).append(records("ca", rows[[2, 0]]))
    assert (tmp_path / "parts/00000.rows").stat().st_size == 2 * 5 * 2
    store.finish("abc")
    store.append(records("a", rows[:1]))
    store.finish("abc")
    assert np.array_equal(open_embeddings(tmp_path).vectors, rows.astype(np.float16))


def test_an_id_with_other_bits_is_refused(tmp_path):
    rows, store = vectors(2), EmbeddingStore(tmp_path)
    message = "'a' comes twice, with different embeddings"
    with pytest.raises(ValueError, match=message):
        store.append(records("baa", rows[[0, 0, 1]]))
    assert store.done() == set()
    store.append(records("a", rows[:1]))
    with pytest.raises(ValueError, match=message):
        store.append(records("ca", rows[[1, 1]]))
    assert store.done() == {"a"}
    EmbeddingStore(tmp_path, part=1).append(records("a", rows[1:]))
    with pytest.raises(ValueError, match=rf"00001\.ids\.jsonl: {message}"):
        store.finish("a")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"image_id": "b"}, r"must hold a text 'image_id' and 'embedding'; found \['image_id'\]"),
        ({"query_id": "b", "embedding": np.zeros(5)}, "must hold a text 'image_id' and 'embedding'"),
        ({"image_id": "b", "embedding": np.zeros(5), "score": 1}, "found .*score"),
        ({"image_id": 7, "embedding": np.zeros(5)}, "must hold a text 'image_id'"),
        ({"image_id": "b", "embedding": np.zeros(4)}, r"'b' has the shape \(4,\), that of 'a' \(5,\)"),
        ({"image_id": "b", "embedding": np.zeros((5, 1))}, r"'b' has the shape \(5, 1\)"),
        ({"image_id": "b", "embedding": np.full(5, np.nan)}, "'b' holds NaN, or values that float16 cannot hold"),
        ({"image_id": "b", "embedding": np.full(5, np.inf)}, "'b' holds NaN"),
        ({"image_id": "b", "embedding": np.full(5, 7e4)}, "'b' holds NaN, or values that float16 cannot hold"),
    ],
)
def test_records_that_are_refused(tmp_path, record, message):
    store = EmbeddingStore(tmp_path)
    with pytest.raises(ValueError, match=message):
        store.append([*records("a", vectors(1)), record])
    assert store.done() == set()


def test_widths_and_dtypes_do_not_mix(tmp_path):
    store = EmbeddingStore(tmp_path)
    store.append(records("a", vectors(1)))
    with pytest.raises(ValueError, match="holds embeddings of width 5, now come some of 6"):
        store.append(records("b", vectors(1, 6)))
    with pytest.raises(ValueError, match="holds embeddings of width 5"):
        EmbeddingStore(tmp_path).append(records("b", vectors(1, 6)))
    with pytest.raises(ValueError, match="holds float16, not float32"):
        EmbeddingStore(tmp_path, dtype="float32").append(records("b", vectors(1)))
    EmbeddingStore(tmp_path, part=1).append(records("b", vectors(1, 6)))
    with pytest.raises(ValueError, match=r"00001\.ids\.jsonl holds float16 of width 6, wanted are float16 of width 5"):
        store.finish("ab")
    shutil.rmtree(tmp_path / "parts")
    store.append(records("a", vectors(1)))
    store.finish("a")
    with pytest.raises(ValueError, match="holds float16 of width 5, wanted are float32"):
        EmbeddingStore(tmp_path, dtype="float32").done()


def test_questions_that_cannot_be_answered(tmp_path):
    with pytest.raises(ValueError, match="dtype 'float64' is not known; choose float16 or float32"):
        EmbeddingStore(tmp_path, dtype="float64")
    with pytest.raises(ValueError, match="id 'a' is asked for twice"):
        EmbeddingStore(tmp_path).finish(["a", "b", "a"])
    with pytest.raises(ValueError, match=r"holds no finished embeddings: embeddings\.json is not there"):
        open_embeddings(tmp_path)


# ---------------------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize("file", ["ids.jsonl", "rows"])
def test_cut_at_every_position(tmp_path, file):
    """A part cut in the middle of its last append, as a kill leaves it: whole ids count, the rest is made again."""
    rows, ids = vectors(4), ["0", "\n1", "é2", "3"]
    whole = tmp_path / "whole"
    store = EmbeddingStore(whole)
    store.append(records(ids[:2], rows[:2]))
    sizes = {path.suffix: path.stat().st_size for path in (whole / "parts").iterdir()}
    store.append(records(ids[2:], rows[2:]))
    full = EmbeddingStore(tmp_path / "full")
    full.append(records(ids, rows))
    full.finish(ids)
    part = f"parts/00000.{file}"
    start = sizes[".rows"] if file == "rows" else 0
    for cut in range(start, (whole / part).stat().st_size + 1):
        folder = Path(shutil.copytree(whole, tmp_path / f"{file}{cut}"))
        os.truncate(folder / part, cut)
        if file == "rows":  # whose ids were not yet written
            os.truncate(folder / "parts/00000.ids.jsonl", sizes[".jsonl"])
        again = EmbeddingStore(folder)
        done = again.done()
        assert set(ids[: len(done)]) == done
        assert len(done) >= (2 if file == "rows" else 0)
        missing = [place for place, name in enumerate(ids) if name not in done]
        again.append(records([ids[place] for place in missing], rows[missing]))
        again.finish(ids)
        assert content(folder) == content(tmp_path / "full")


def test_rows_that_are_missing_and_lines_that_are_wrong(tmp_path):
    store = EmbeddingStore(tmp_path)
    store.append(records("ab", vectors(2)))
    os.truncate(tmp_path / "parts/00000.rows", 19)
    for work in (store.done, lambda: store.append(records("c", vectors(1))), lambda: store.finish("ab")):
        with pytest.raises(ValueError, match=r"00000\.rows is damaged \(19 bytes of 20\); delete it and 00000\.ids"):
            work()
    (tmp_path / "parts/00000.ids.jsonl").write_text('{"dtype": "float16", "width": 5}\nnot JSON\n')
    with pytest.raises(ValueError, match=r"00000\.ids\.jsonl is damaged .*; delete it and 00000\.rows"):
        store.done()


@pytest.mark.parametrize("name", sorted(FILES))
def test_finished_files_that_do_not_belong_together(tmp_path, name):
    for folder, ids in (("s", "ab"), ("other", "xyz")):
        store = EmbeddingStore(tmp_path / folder)
        store.append(records(ids, vectors(len(ids))))
        store.finish(ids)
    shutil.copy(tmp_path / "other" / name, tmp_path / "s" / name)
    with pytest.raises(ValueError, match="is damaged .*do not belong together.*; delete it, and run the stage"):
        open_embeddings(tmp_path / "s")
    (tmp_path / "s" / name).write_bytes(b"{}")
    with pytest.raises(ValueError, match="is damaged"):
        open_embeddings(tmp_path / "s")


def test_a_full_disk(tmp_path, monkeypatch):
    rows, store = vectors(3), EmbeddingStore(tmp_path)
    store.append(records("a", rows[:1]))
    monkeypatch.setattr(embedding_part, "_write", full_disk(after=3))
    with pytest.raises(ValueError, match=f"{tmp_path} does not take the embeddings: No space left on device"):
        store.append(records("bc", rows[1:]))
    monkeypatch.undo()
    assert store.done() == {"a"}
    store.append(records("bc", rows[1:]))
    monkeypatch.setattr(embedding_store, "_write_vectors", full_disk(after=0))
    with pytest.raises(ValueError, match="No space left on device"):
        store.finish("abc")
    monkeypatch.undo()
    store.finish("abc")
    assert np.array_equal(open_embeddings(tmp_path).vectors, rows.astype(np.float16))


def full_disk(after: int):
    """Writes so many bytes, then no more."""

    def write(file, content, *_others):
        if after:
            file.write(content[:after])
            file.flush()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return write


# ---------------------------------------------------------------------------------------------------- kills


@pytest.mark.slow
def test_a_kill_between_any_two_operations(tmp_path):
    """Of a second run: one append to a part, one to another, and the merge with what was finished before."""
    ids, rows = list("abcdef"), vectors(6)

    def first_run(folder: Path) -> None:
        store = EmbeddingStore(folder)
        store.append(records(ids[:2], rows[:2]))
        store.finish(ids[:2])

    def run(folder: Path) -> None:
        store, other = EmbeddingStore(folder), EmbeddingStore(folder, part=1)
        missing = [place for place, name in enumerate(ids) if name not in store.done()]
        for chosen, of_part in ((missing[:2], store), (missing[2:], other)):
            of_part.append(records([ids[place] for place in chosen], rows[chosen]))
        store.finish(ids[1:])

    def kill(folder: Path, number: int) -> None:
        kill_at(number)
        run(folder)

    first_run(tmp_path / "first")
    shutil.copytree(tmp_path / "first", tmp_path / "expected")
    run(tmp_path / "expected")
    expected = content(tmp_path / "expected")
    assert set(expected) == FILES
    for number in range(200):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "first", folder)
        was_killed = killed(lambda folder=folder, number=number: kill(folder, number))
        if was_killed:
            run(folder)
        assert content(folder) == expected, f"killed before operation {number}"
        if not was_killed:
            break
    assert 25 < number < 200


def test_a_kill_from_outside_loses_nothing_that_append_has_returned(tmp_path):
    rows = vectors(64, 256)
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        store = EmbeddingStore(tmp_path, dtype="float32")
        for number in range(100_000):
            store.append(records([f"{number}-{place}" for place in range(64)], rows + np.float32(number)))
            os.write(writing, b".")
    os.close(writing)
    acknowledged = sum(len(os.read(reading, 1)) for _ in range(20))
    time.sleep(0.003)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    while more := os.read(reading, 1024):
        acknowledged += len(more)
    os.close(reading)
    assert acknowledged >= 20
    store = EmbeddingStore(tmp_path, dtype="float32")
    done = store.done()
    assert {f"{number}-{place}" for number in range(acknowledged) for place in range(64)} <= done
    ids = sorted(done)
    store.append(records(["last"], rows[:1]))
    store.finish([*ids, "last"])
    stored = open_embeddings(tmp_path)
    assert stored.ids == [*ids, "last"]
    for name, row in zip(ids, stored.vectors, strict=False):
        number, place = map(int, name.split("-"))
        assert np.array_equal(row, rows[place] + np.float32(number))


def test_an_interrupted_merge_is_named_to_readers(tmp_path):
    store = EmbeddingStore(tmp_path)
    store.append(records("a", vectors(1)))
    store.finish("a")
    (tmp_path / "merged").mkdir()
    with pytest.raises(ValueError, match="merging the embeddings was interrupted; run the stage"):
        open_embeddings(tmp_path)


@pytest.mark.slow
def test_a_large_store_opens_at_once(tmp_path):
    """400,000 ids; the vectors' width does not matter, since none is read."""
    num = 400_000
    store = EmbeddingStore(tmp_path)
    ids = [f"{number:016x}" for number in range(num)]
    store.append(records(ids, np.ones((num, 2), np.float32)))
    store.finish(ids)
    start = time.perf_counter()
    stored = open_embeddings(tmp_path)
    seconds = time.perf_counter() - start
    assert stored.ids == ids
    assert stored.vectors.shape == (num, 2)
    assert seconds < 2  # 0.05 s on a machine that has nothing else to do


def test_an_id_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"the id '\\ud800' holds half a surrogate pair"):
        EmbeddingStore(tmp_path).append(records(["a", "\ud800"], vectors(2)))
    assert EmbeddingStore(tmp_path).done() == set()


@pytest.mark.hostile("hostile files")
@pytest.mark.parametrize("header", ['{"dtype": "float16", "width": -1}', '{"dtype": "object", "width": 1}', "[]", "7"])
@pytest.mark.parametrize("line", ['"a"', '["a"]', '[["a"], 1]', "{}", "[" * 100_000])
def test_a_part_of_another_shape_is_named(tmp_path, header, line):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/00000.ids.jsonl").write_text(f"{header}\n{line}\n")
    (tmp_path / "parts/00000.rows").write_bytes(bytes(64))
    with pytest.raises(ValueError, match=r"00000\.ids\.jsonl is damaged"):
        EmbeddingStore(tmp_path).done()


def test_opening_reads_no_vector(tmp_path):
    store = EmbeddingStore(tmp_path)
    store.append(records("ab", vectors(2)))
    store.finish("ab")
    path = tmp_path / "embeddings.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    stored = open_embeddings(tmp_path)
    assert stored.ids == ["a", "b"]
    with pytest.raises(ValueError, match=r"the vectors in embeddings\.npy are not those that were written.*delete it"):
        _ = stored.vectors

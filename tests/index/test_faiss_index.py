from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest

from diptych.index import faiss_index
from diptych.index.exact_index import ExactIndex
from diptych.index.faiss_index import FaissIndex

KINDS = ("hnsw", "ivf_pq")


@pytest.fixture
def faiss():
    return pytest.importorskip("faiss", reason="faiss-cpu is not installed")


def gallery(rows: int = 1500, width: int = 32, seed: int = 0) -> np.ndarray:
    """Unit vectors around 30 centres, as photos lie around subjects."""
    generator = np.random.default_rng(seed)
    values = generator.standard_normal((30, width))[generator.integers(0, 30, rows)]
    values += 0.5 * generator.standard_normal((rows, width))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float16)


def queries(vectors: np.ndarray, number: int = 40) -> np.ndarray:
    generator = np.random.default_rng(1)
    chosen = vectors[generator.integers(0, len(vectors), number)].astype(np.float32)
    chosen += 0.05 * generator.standard_normal(chosen.shape, dtype=np.float32)
    return chosen / np.linalg.norm(chosen, axis=1, keepdims=True)


def mapped(folder: Path, vectors: np.ndarray) -> np.memmap:
    np.save(folder / "embeddings.npy", vectors)
    return np.load(folder / "embeddings.npy", mmap_mode="r")


def index_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".npy")


@pytest.mark.parametrize("kind", KINDS)
def test_nearly_as_the_exact_search(faiss, caplog, kind):
    vectors = gallery()
    asked = queries(vectors)
    index = FaissIndex(kind, oversampling=4)
    with caplog.at_level(logging.INFO):
        positions, scores = index.search(asked, vectors, 10)
    expected, expected_scores = ExactIndex().search(asked, vectors, 10)
    assert positions.dtype == np.int64
    assert scores.dtype == np.float32
    agreement = np.mean([np.isin(row, found).mean() for row, found in zip(expected, positions, strict=True)])
    assert index.recall == pytest.approx(agreement)
    assert index.recall > 0.95
    assert f"FAISS {kind}: recall at 10 against exact search {agreement:.4f} (40 queries)" in caplog.text
    same = positions == expected
    np.testing.assert_allclose(scores[same], expected_scores[same], rtol=0, atol=1e-6)
    assert (np.diff(scores, axis=1) <= 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_effort_buys_recall_and_the_recall_tells(faiss, kind):
    vectors = np.random.default_rng(0).standard_normal((3000, 32)).astype(np.float16)
    asked = np.random.default_rng(1).standard_normal((30, 32)).astype(np.float32)
    recalls = []
    for effort in (1, 10_000):
        index = FaissIndex(kind, effort=effort, oversampling=40 if kind == "ivf_pq" else 1)
        index.search(asked, vectors, 10)
        recalls.append(index.recall)
    assert recalls[0] < 0.9 < recalls[1]


def test_the_recall_is_that_of_a_fixed_choice_of_queries(faiss):
    vectors = gallery()
    asked = queries(vectors, 60)
    index = FaissIndex("ivf_pq", effort=1, oversampling=1, recall_queries=20)
    positions, _ = index.search(asked, vectors, 10)
    chosen = np.random.default_rng(0).permutation(60)[:20]
    expected, _ = ExactIndex().search(asked[chosen], vectors, 10)
    agreement = [np.isin(row, own).mean() for row, own in zip(expected, positions[chosen], strict=True)]
    assert index.recall == pytest.approx(np.mean(agreement))
    index.search(asked[:0], vectors, 10)
    assert index.recall is None


@pytest.mark.parametrize("kind", KINDS)
def test_kept_beside_the_vectors_and_the_same_every_time(faiss, tmp_path, monkeypatch, kind):
    folders = [tmp_path / name for name in ("a", "b")]
    results, contents = [], []
    for folder in folders:
        folder.mkdir()
        vectors = mapped(folder, gallery())
        results.append(FaissIndex(kind).search(queries(vectors), vectors, 5))
        (name,) = index_files(folder)
        assert name.startswith(f"{kind}-")
        contents.append((folder / name).read_bytes())
    assert contents[0] == contents[1]
    monkeypatch.setattr(FaissIndex, "_build", lambda *_: pytest.fail("built again"))
    vectors = mapped(folders[0], gallery())
    results.append(FaissIndex(kind, effort=256 if kind == "hnsw" else 64).search(queries(vectors), vectors, 5))
    for positions, scores in results[:2]:
        assert np.array_equal(positions, results[0][0])
        assert np.array_equal(scores, results[0][1])


def test_other_vectors_replace_the_index_and_other_kinds_stay(faiss, tmp_path):
    vectors = mapped(tmp_path, gallery())
    index = FaissIndex("hnsw")
    index.search(queries(vectors), vectors, 5)
    FaissIndex("ivf_pq").search(queries(vectors), vectors, 5)
    hnsw, ivf_pq = index_files(tmp_path)
    (tmp_path / f"{hnsw}.1-0.tmp").write_bytes(b"of a killed process")
    changed = mapped(tmp_path, gallery(1600, seed=1))
    positions, _ = index.search(queries(changed), changed, 5)
    assert index.recall > 0.9
    assert positions.max() >= 1500
    new, kept = index_files(tmp_path)
    assert (kept, new.rsplit("-", 1)[0]) == (ivf_pq, hnsw.rsplit("-", 1)[0])
    assert new != hnsw


def test_a_damaged_index_is_named(faiss, tmp_path):
    vectors = mapped(tmp_path, gallery(300))
    FaissIndex("hnsw").search(queries(vectors), vectors, 5)
    (name,) = index_files(tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:1000])
    with pytest.raises(ValueError, match=rf"{name} is damaged \(.*\); delete it, and it is built again"):
        FaissIndex("hnsw").search(queries(vectors), vectors, 5)


@pytest.mark.hostile("damage")
@pytest.mark.parametrize("place", [200, 2000, -20, -2])
def test_a_turned_bit_in_an_index_is_named(faiss, tmp_path, place):
    vectors = mapped(tmp_path, gallery(300))
    FaissIndex("hnsw").search(queries(vectors), vectors, 5)
    path = tmp_path / index_files(tmp_path)[0]
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"its checksum differs.*delete it, and it is built again"):
        FaissIndex("hnsw").search(queries(vectors), vectors, 5)


def test_an_index_that_cannot_be_kept(faiss, tmp_path, monkeypatch, caplog):
    vectors = mapped(tmp_path, gallery(300))
    monkeypatch.setattr(faiss, "write_index", lambda *_: (_ for _ in ()).throw(RuntimeError("no space")))
    index = FaissIndex("hnsw")
    index.search(queries(vectors), vectors, 5)
    assert index.recall > 0.9
    assert "the next search builds it again: no space" in caplog.text
    assert index_files(tmp_path) == []


@pytest.mark.parametrize("kind", KINDS)
def test_threads_of_others_are_left_alone(faiss, kind):
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(3)
    vectors = gallery(300)
    FaissIndex(kind).search(queries(vectors), vectors, 5)
    assert faiss.omp_get_max_threads() == 3
    faiss.omp_set_num_threads(before)


def test_a_gallery_smaller_than_k(faiss):
    vectors = gallery(6)
    positions, scores = FaissIndex("hnsw").search(queries(vectors), vectors, 10)
    assert positions.shape == scores.shape == (40, 6)
    assert (np.sort(positions) == np.arange(6)).all()


def test_rows_end_where_no_more_is_proposed(faiss):
    vectors = gallery()
    positions, scores = FaissIndex("ivf_pq", effort=1, oversampling=1).search(queries(vectors), vectors, 1500)
    short = positions[:, -1] < 0
    assert short.any()
    for row, row_scores in zip(positions[short], scores[short], strict=True):
        number = int((row >= 0).sum())
        assert (row[number:] == -1).all()
        assert (row_scores[number:] == -np.inf).all()
        assert np.isfinite(row_scores[:number]).all()


def test_what_cannot_be_searched(faiss):
    with pytest.raises(ValueError, match="ivf_pq wants 256 vectors at least, there are 255; choose index=exact"):
        FaissIndex("ivf_pq").search(queries(gallery(255)), gallery(255), 5)
    with pytest.raises(ValueError, match=r"must be \(Q, E\) and \(G, E\)"):
        FaissIndex().search(np.zeros((2, 3), np.float32), gallery(10), 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "lsh"}, "kind 'lsh' of FAISS index is not known; choose hnsw or ivf_pq"),
        ({"effort": 0}, "effort=0 must be at least 1"),
        ({"oversampling": 0}, "oversampling=0 must"),
        ({"recall_queries": 0}, "recall_queries=0 must"),
        ({"build_threads": 0}, "build_threads=0 must"),
    ],
)
def test_settings_that_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        FaissIndex(**arguments)


def test_without_faiss(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ValueError, match=r"needs faiss-cpu: pip install 'diptych\[search\]'; or choose index=exact"):
        FaissIndex().search(np.zeros((1, 8), np.float32), gallery(10, 8), 1)


def test_codes_fit_every_width(faiss):
    for width, num_codes in ((1152, 144), (63, 7), (7, 1), (768, 96), (514, 2)):
        index, _ = faiss_index._inverted_file(faiss, 1000, width)
        assert num_codes == index.pq.M

"""The blocked search against `ranking.rank` over the whole gallery, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diptych.index import exact_index
from diptych.index.exact_index import ExactIndex
from diptych.ranking.ranking import rank


def embeddings(rows: int, width: int, seed: int, dtype: str = "float16") -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal((rows, width))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(dtype)


def whole(queries: np.ndarray, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    found = rank(
        torch.from_numpy(queries), torch.from_numpy(vectors.astype(np.float32)), k=k, relevant=[()] * len(queries)
    )
    return found.positions.numpy(), found.scores.numpy()


def assert_same(found: tuple[np.ndarray, np.ndarray], expected: tuple[np.ndarray, np.ndarray]) -> None:
    assert [part.dtype for part in found] == [np.int64, np.float32]
    for part, wanted in zip(found, expected, strict=True):
        assert np.array_equal(part, wanted)


@pytest.fixture(params=[64, 200, 1000])
def small_blocks(request, monkeypatch):
    monkeypatch.setattr(exact_index, "_MIN_BLOCK_ROWS", request.param)
    monkeypatch.setattr(exact_index, "_HASHED_AT_ONCE", request.param // 3)
    original = exact_index._blocks
    monkeypatch.setattr(exact_index, "_blocks", lambda num_rows, _: original(num_rows, request.param))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("width", [16, 63, 384])
@pytest.mark.parametrize("num_gallery", [1, 63, 64, 65, 201, 1003, 2053])
def test_equals_ranking_the_whole_gallery(small_blocks, num_gallery, width, dtype):
    vectors = embeddings(num_gallery, width, 0, dtype)
    for num_queries, k in ((1, 1), (3, 10), (50, 50)):
        queries = embeddings(num_queries, width, 1, "float32")
        assert_same(ExactIndex().search(queries, vectors, k), whole(queries, vectors, k))


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("k", [1, 10, 300])
def test_repeated_vectors_across_blocks(small_blocks, share, k):
    """Real-valued, so that a score summed in another order would show; equal vectors, so that it would matter."""
    generator = np.random.default_rng(0)
    vectors = embeddings(1003, 63, 0)
    repeated = np.flatnonzero(generator.random(len(vectors)) < share)
    vectors[repeated] = vectors[generator.integers(0, 40, len(repeated))]
    queries = embeddings(20, 63, 1, "float32")
    queries[:10] = vectors[repeated[:10]]  # a repeated vector in the first place
    positions, scores = ExactIndex().search(queries, vectors, k)
    assert_same((positions, scores), whole(queries, vectors, k))
    for query in range(10):
        equal = np.flatnonzero((vectors == vectors[positions[query, 0]]).all(axis=1))[:k]
        assert np.array_equal(positions[query, : len(equal)], equal)
        assert len(set(scores[query, : len(equal)])) == 1


def test_equal_scores_of_different_vectors(small_blocks):
    """Small integers: all products are exact, and nearly every score comes many times."""
    generator = np.random.default_rng(0)
    vectors = generator.integers(-1, 2, (900, 12)).astype(np.float16)
    queries = generator.integers(-1, 2, (30, 12)).astype(np.float32)
    positions, scores = ExactIndex().search(queries, vectors, 40)
    assert_same((positions, scores), whole(queries, vectors, 40))
    every = queries @ vectors.T.astype(np.float32)
    for query, row in enumerate(every):
        assert np.array_equal(positions[query], np.lexsort((np.arange(900), -row))[:40])
        assert np.array_equal(scores[query], row[positions[query]])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_gallery_that_is_mapped_to_memory(tmp_path, dtype):
    vectors, queries = embeddings(3000, 32, 0, dtype), embeddings(7, 32, 1, "float32")
    np.save(tmp_path / "v.npy", vectors)
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    found = ExactIndex(memory_limit_mb=1).search(torch.from_numpy(queries), mapped, 5)
    assert_same(found, whole(queries, vectors, 5))


def test_blocks_cover_the_gallery_evenly():
    for num_rows in (1, 63, 64, 1024, 1025, 16_400, 99_999):
        for largest in (1, 1024, 1100, 5000):
            blocks = exact_index._blocks(num_rows, largest)
            assert [start for start, _ in blocks] == [0, *(stop for _, stop in blocks[:-1])]
            assert blocks[-1][1] == num_rows
            sizes = [stop - start for start, stop in blocks]
            assert max(sizes) <= max(1024, largest) + 64
            assert min(sizes) >= max(sizes) - 127
            assert all(start % 64 == 0 for start, _ in blocks)


def test_vectors_with_the_same_hash_are_told_apart(monkeypatch):
    """With factors of 1 the hash is the sum of the bits: the same for all orders of the same values."""
    generator = np.random.default_rng(0)
    vectors = np.stack([generator.permutation(embeddings(1, 8, 0)[0]) for _ in range(20)])
    ones = type("Ones", (), {"integers": lambda *_: np.zeros(8, np.uint64)})
    monkeypatch.setattr(exact_index.np.random, "default_rng", lambda _: ones())
    vectors[10] = vectors[0]
    first, first_of = exact_index._repeated_rows(vectors)
    assert len(first) == 19
    assert first_of[10] == 0
    assert first_of.tolist() == [0 if row == 10 else row for row in range(20)]


def test_no_query():
    positions, scores = ExactIndex().search(np.zeros((0, 4), np.float32), embeddings(9, 4, 0), 3)
    assert positions.shape == scores.shape == (0, 3)


@pytest.mark.parametrize(
    ("queries", "vectors", "k", "message"),
    [
        (np.zeros((2, 3), np.float32), np.zeros((5, 4), np.float16), 1, r"queries \(2, 3\) and vectors \(5, 4\) must"),
        (np.zeros(4, np.float32), np.zeros((5, 4), np.float16), 1, r"queries \(4,\) and vectors"),
        (np.zeros((2, 4), np.float32), np.zeros((5, 4), np.float16), 0, "cannot find the first 0 of 5 vectors"),
        (np.zeros((2, 4), np.float32), np.zeros((0, 4), np.float16), 1, "cannot find the first 1 of 0 vectors"),
        (np.full((2, 4), np.nan, np.float32), np.zeros((5, 4), np.float16), 1, "query embeddings with NaN"),
        (np.zeros((2, 4), np.float32), np.full((5, 4), np.inf, np.float16), 1, "gallery embeddings with NaN"),
    ],
)
def test_what_cannot_be_searched(queries, vectors, k, message):
    with pytest.raises(ValueError, match=message):
        ExactIndex().search(queries, vectors, k)


def test_no_memory():
    with pytest.raises(ValueError, match="memory_limit_mb=0 must be at least 1"):
        ExactIndex(memory_limit_mb=0)

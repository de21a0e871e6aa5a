import multiprocessing
import os
import pickle
import signal
import sqlite3

import numpy as np
import pytest

from diptych.data.news import embedding_cache
from diptych.data.news.embedding_cache import CachedEncoder

TEXTS = [f"text {i}" for i in range(10)]


class LengthEncoder:
    """Vectors drawn from the text; counts what it is asked, and stops after `limit` calls."""

    def __init__(self, name="lengths", width=4, limit=99, stop=None):
        self.name, self.width, self.limit, self.stop = name, width, limit, stop
        self.asked = []

    def encode(self, texts):
        if self.limit == 0:
            self.stop()
        self.limit -= 1
        self.asked += texts
        rows = [np.random.default_rng(list(text.encode())).standard_normal(self.width) for text in texts]
        return np.asarray(rows, np.float32).reshape(len(texts), self.width)


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def test_values_bit_for_bit_and_only_what_is_missing(tmp_path):
    encoder = LengthEncoder()
    cached = CachedEncoder(encoder, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    assert cached.name == "lengths"
    order = [3, 1, 3, 0]
    first = cached.encode([TEXTS[i] for i in order])
    assert encoder.asked == [TEXTS[i] for i in (3, 1, 0)]
    copy = pickle.loads(pickle.dumps(cached))
    again = copy.encode(TEXTS)
    assert sorted(copy.encoder.asked) == TEXTS
    plain = LengthEncoder().encode(TEXTS)
    assert np.array_equal(again, plain) and np.array_equal(first, plain[order])
    assert again.dtype == np.float32
    again[:] = 0  # results belong to the caller
    assert np.array_equal(cached.encode(TEXTS), plain)
    assert len(encoder.asked) == 3
    assert cached.encode([]).shape == (0, 4)


def test_models_and_odd_texts_are_kept_apart(tmp_path):
    one, other = LengthEncoder("one"), LengthEncoder("other", width=6)
    texts = ["", " ", "é\x00", "line\nbreak", "x" * 10_000]
    for _ in range(2):
        for encoder in (one, other):
            assert CachedEncoder(encoder, tmp_path).encode(texts).shape == (5, encoder.width)
    assert one.asked == other.asked == texts


def test_more_texts_than_one_query_takes(tmp_path):
    texts = [str(i) for i in range(1203)]
    encoder = LengthEncoder()
    cached = CachedEncoder(encoder, tmp_path)
    assert np.array_equal(cached.encode(texts), cached.encode(texts[::-1])[::-1])
    assert len(encoder.asked) == 1203


def test_a_kill_loses_only_the_part_it_was_at(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_cache, "_ENCODED_AT_ONCE", 4)
    dying = CachedEncoder(LengthEncoder(limit=2, stop=kill), tmp_path)
    process = multiprocessing.get_context("fork").Process(target=dying.encode, args=(TEXTS,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    encoder = LengthEncoder()
    assert np.array_equal(CachedEncoder(encoder, tmp_path).encode(TEXTS), LengthEncoder().encode(TEXTS))
    assert encoder.asked == TEXTS[8:]


def _encode_parts(arguments):
    folder, seed = arguments
    cached = CachedEncoder(LengthEncoder(), folder)
    rng = np.random.default_rng(seed)
    for _ in range(10):
        texts = [f"shared {i}" for i in rng.integers(0, 200, 50).tolist()]
        if not np.array_equal(cached.encode(texts), LengthEncoder().encode(texts)):
            return False
    return True


def test_many_processes_share_one_file(tmp_path):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert all(pool.map(_encode_parts, [(tmp_path, seed) for seed in range(4)], chunksize=1))
    with sqlite3.connect(tmp_path / "embeddings.sqlite") as connection:
        assert 0 < connection.execute("SELECT COUNT(*) FROM embedding").fetchone()[0] <= 200


def test_a_damaged_file_and_another_model_of_the_same_name(tmp_path):
    CachedEncoder(LengthEncoder(), tmp_path).encode(TEXTS[:3])
    with pytest.raises(ValueError, match=r"embeddings of 'lengths' of other lengths: \[4, 7\]; was another model"):
        CachedEncoder(LengthEncoder(width=7), tmp_path).encode(TEXTS)
    (tmp_path / "embeddings.sqlite").write_text("no database " * 99)
    with pytest.raises(ValueError, match=r"embeddings\.sqlite cannot be used .*delete a damaged file"):
        CachedEncoder(LengthEncoder(), tmp_path).encode(TEXTS)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="name a folder with room"):
        CachedEncoder(LengthEncoder(), tmp_path / "file").encode(TEXTS)

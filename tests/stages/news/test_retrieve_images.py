from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from diptych.contracts.pipelines import Failure
from diptych.data.news.openevents import OpenEvents
from diptych.data.news.retrieval_file import read_retrieval
from diptych.index.embedding_store import EmbeddingStore
from diptych.index.exact_index import ExactIndex
from diptych.stages.news import retrieve_images
from diptych.stages.news.retrieve_images import RetrieveImages
from diptych.storage.record_log import RecordFile

WIDTH = 16
QUERIES = [f"{number:016x}" for number in range(0xC0, 0xC0 + 25)]
DEPTH = 5


def photos_of(article: int) -> list[str]:
    """Article 0 has 60 photos, the others three each."""
    return [f"{article:08x}{number:08x}" for number in range(60 if article == 0 else 3)]


def article_id(article: int) -> str:
    return f"a{article:015x}"


def write_source(root: Path, num_articles: int) -> OpenEvents:
    (root / "Database").mkdir(parents=True)
    (root / "Track 1 - Public Set").mkdir()
    articles = {
        article_id(number): {"url": "", "date": "", "title": "t", "images": photos_of(number), "content": "c"}
        for number in range(num_articles)
    }
    articles["b" * 16] = {"url": "", "date": "", "title": "t", "images": photos_of(1)[:1], "content": "a photo again"}
    (root / "Database/database.json").write_text(json.dumps(articles))
    (root / "Track 1 - Public Set/query.csv").write_text("\n".join(["query_id", *QUERIES]) + "\n")
    return OpenEvents(root)


def store(folder: Path, ids: list[str], vectors: np.ndarray, key: str = "image_id") -> dict[str, np.ndarray]:
    sink = EmbeddingStore(folder, key, dtype="float32")
    sink.append({key: name, "embedding": row} for name, row in zip(ids, vectors, strict=True))
    sink.finish(ids)
    return dict(zip(ids, vectors, strict=True))


class World:
    """A database of 20 articles with embeddings of small whole numbers (ties), and queries near article 0."""

    def __init__(self, root: Path, num_articles: int = 20) -> None:
        self.root = root
        self.source = write_source(root / "data", num_articles)
        generator = np.random.default_rng(0)
        self.articles = {name: article_id(n) for n in range(num_articles) for name in photos_of(n)}
        vectors = generator.integers(-2, 3, (len(self.articles), WIDTH)).astype(np.float32)
        centre = generator.integers(-2, 3, WIDTH)
        vectors[:60] = centre + generator.integers(0, 2, (60, WIDTH))
        queries = generator.integers(-2, 3, (len(QUERIES), WIDTH)).astype(np.float32)
        queries[::2] += 2 * centre.astype(np.float32)
        self.gallery = store(root / "gallery", list(self.articles), vectors)
        self.queries = store(root / "queries", QUERIES[::-1], queries[::-1], "query_id")

    def stage(self, **settings) -> RetrieveImages:
        given = {"index": ExactIndex(), "depth": DEPTH, "split": "test", **settings}
        return RetrieveImages(str(self.root / "queries"), str(self.root / "gallery"), self.source, **given)

    def expected(self, query_id: str, depth: int = DEPTH) -> list[tuple[str, str, float]]:
        images = list(self.gallery)
        scores = [float(self.gallery[image] @ self.queries[query_id]) for image in images]
        best: dict[str, tuple[str, str, float]] = {}
        for place in sorted(range(len(images)), key=lambda place: (-scores[place], place)):
            article = self.articles[images[place]]
            best.setdefault(article, (images[place], article, scores[place]))
        return list(best.values())[:depth]


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


class Counting(ExactIndex):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, int]] = []

    def search(self, queries, vectors, k):
        self.asked.append((len(queries), k))
        return super().search(queries, vectors, k)


def results(record) -> list[tuple[str, str, float]]:
    return [(result["image_id"], result["article_id"], result["score"]) for result in record["results"]]


def test_the_best_photo_of_each_of_the_first_articles(world):
    index = Counting()
    stage = world.stage(index=index)
    assert stage.ids() == QUERIES
    records = {record["query_id"]: record for record in stage.process(stage.ids())}
    assert set(records) == set(QUERIES)
    for query_id, record in records.items():
        assert results(record) == world.expected(query_id)
        assert len({article for _, article, _ in results(record)}) == DEPTH
    # Many queries find the photos of article 0 first, and are searched again, without the others.
    assert [k for _, k in index.asked] == [10, 40, 160]
    assert index.asked[0][0] == 25
    assert 12 <= index.asked[1][0] < 25


def test_the_query_before_and_after_an_interruption(world, monkeypatch):
    stage = world.stage()
    at_once = {record["query_id"]: record for record in stage.process(QUERIES)}
    monkeypatch.setattr(retrieve_images, "_QUERIES_AT_ONCE", 4)
    for ids in (QUERIES, QUERIES[3:], QUERIES[7:8]):
        again = {record["query_id"]: record for record in world.stage().process(ids)}
        assert again == {query_id: at_once[query_id] for query_id in ids}


def test_a_query_without_an_embedding(world):
    unknown = "f" * 16
    results_of = list(world.stage().process([QUERIES[0], unknown, QUERIES[1]]))
    failures = [result for result in results_of if isinstance(result, Failure)]
    assert [(failure.record_id, failure.reason) for failure in failures] == [(unknown, "no_embedding")]
    assert "queries has no embedding of the photo; see why in the failures.jsonl" in failures[0].message
    assert len(results_of) == 3
    assert list(world.stage().process([unknown])) == failures


def test_fewer_articles_than_wanted(tmp_path, caplog):
    world = World(tmp_path, num_articles=3)
    records = list(world.stage().process(QUERIES))
    for record in records:
        assert results(record) == world.expected(record["query_id"])
        assert len(record["results"]) == 3
    assert "25 of 25 queries have fewer than 5 articles: no more were found" in caplog.text


def test_an_index_that_finds_no_more(world, caplog):
    class Shallow(ExactIndex):
        def search(self, queries, vectors, k):
            positions, scores = super().search(queries, vectors, k)
            positions[:, 2:], scores[:, 2:] = -1, -np.inf
            return positions, scores

    with caplog.at_level(logging.WARNING):
        records = list(world.stage(index=Shallow()).process(QUERIES))
    for record in records:
        assert 1 <= len(record["results"]) <= 2
        assert results(record) == world.expected(record["query_id"])[: len(record["results"])]
    assert "25 of 25 queries have fewer" in caplog.text


def test_the_file_that_others_read(world, tmp_path):
    output = tmp_path / "elsewhere/result.json"
    stage = world.stage(output=str(output))
    folder = tmp_path / "stage"
    sink = RecordFile(folder, stage.record_key)
    sink.append(stage.process(QUERIES))
    sink.finish(QUERIES)
    stage.write_output(folder, [])
    assert output.read_bytes() == (folder / "retrieval.json").read_bytes()
    assert stage.output_files() == [output]
    retrieval = read_retrieval(output, articles=world.source.articles())
    assert list(retrieval) == QUERIES
    for query_id, candidates in retrieval.items():
        found = [(candidate.image_id, candidate.article_id, candidate.score) for candidate in candidates]
        assert found == world.expected(query_id)


def test_a_photo_of_two_articles_counts_for_the_first(world):
    image = photos_of(1)[0]
    assert world.source.articles().article_ids_of_image(image) == (article_id(1), "b" * 16)
    shutil.rmtree(world.root / "queries")
    store(world.root / "queries", QUERIES[:1], 3 * world.gallery[image][None], "query_id")
    (record,) = world.stage().process(QUERIES[:1])
    assert article_id(1) in [article for _, article, _ in results(record)]
    assert "b" * 16 not in [article for _, article, _ in results(record)]


def test_input_files_change_with_the_vectors(world):
    stage = world.stage()
    before = [path.read_bytes() for path in stage.input_files()]
    assert [path.name for path in stage.input_files()] == ["ids.jsonl", "embeddings.json"] * 2
    store(world.root / "other", list(world.gallery), 2 * np.stack(list(world.gallery.values())))
    other = RetrieveImages(str(world.root / "queries"), str(world.root / "other"), world.source, "test", ExactIndex())
    after = [path.read_bytes() for path in other.input_files()]
    assert [there == here for there, here in zip(before, after, strict=True)] == [True, True, True, False]


def test_what_cannot_be_searched(world, tmp_path):
    with pytest.raises(ValueError, match="depth=0 must be at least 1"):
        world.stage(depth=0)

    def refused(message: str, gallery: Path) -> None:
        stage = RetrieveImages(str(world.root / "queries"), str(gallery), world.source, "test", ExactIndex())
        with pytest.raises(ValueError, match=message):
            list(stage.process(QUERIES))

    refused("absent holds no finished embeddings", tmp_path / "absent")
    EmbeddingStore(tmp_path / "empty").finish([])
    refused("empty holds no embedding to search", tmp_path / "empty")
    store(tmp_path / "narrow", ["0" * 16], np.ones((1, 3)))
    refused(r"queries holds embeddings of width 16, .*narrow of 3; both must be made by the same", tmp_path / "narrow")
    store(tmp_path / "stranger", ["f" * 16], np.ones((1, WIDTH)))
    refused(r"database\.json holds no article with the image 'ffffffffffffffff'", tmp_path / "stranger")

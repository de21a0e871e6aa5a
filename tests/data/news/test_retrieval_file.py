from __future__ import annotations

import json
from pathlib import Path

import pytest

import golden_files
from diptych.contracts.news import Candidate
from diptych.data.news.retrieval_file import first_of_each_article, read_retrieval, write_retrieval

RESULT = {"image_id": "00a1", "article_id": "0012", "score": 0.5}


def written(path: Path, *records) -> Path:
    path.write_text(json.dumps(records))
    return path


def test_what_is_written_is_read(tmp_path):
    retrieval = {
        "12e4": (Candidate("00a1", "0012", 0.1 + 0.2), Candidate("00a2", "0012", 0.93), Candidate("é", "7", -1.0)),
        "0001": (),
    }
    path = write_retrieval(tmp_path / "results/retrieval.json", retrieval)
    again = read_retrieval(path)
    assert again == retrieval
    assert list(again) == ["12e4", "0001"]
    assert [entry.name for entry in path.parent.iterdir()] == ["retrieval.json"]
    assert len(path.read_text().splitlines()) == 2


def test_first_of_each_article():
    values = (("a", "1", 3.0), ("b", "1", 2.0), ("c", None, 1.0), ("d", "2", 0.0))
    first, second, unknown, third = (Candidate(*value) for value in values)
    assert first_of_each_article((first, second, unknown, third)) == (first, third)


def test_articles_that_others_did_not_know(tmp_path):
    results = [{**RESULT, "image_id": name, "article_id": name} for name in ("unknown", "#", "0012")]
    path = written(tmp_path / "r.json", {"query_id": "q", "results": results})
    candidates = read_retrieval(path, articles={"0012"})["q"]
    assert [candidate.article_id for candidate in candidates] == [None, None, "0012"]
    with pytest.raises(ValueError, match=r"query 'q', result 1: image 'unknown' has no article; attach"):
        write_retrieval(tmp_path / "new.json", {"q": candidates})
    with pytest.raises(ValueError, match=r"record 0 \(query_id q\): result 3: article '0012' is not in the database"):
        read_retrieval(path, articles=())


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"query_id": "q"}, r"r\.json, record 1 \(query_id q\): key 'results' is missing"),
        ({"query_id": 12, "results": []}, "key 'query_id' must be a string, found an integer"),
        ({"query_id": "first", "results": []}, r"record 1 \(query_id first\): the query occurs twice"),
        ({"query_id": "q", "results": ["a"]}, "key 'results' must be a list of objects"),
        (
            {"query_id": "q", "results": [RESULT, {**RESULT, "image_id": 3}]},
            r"result 2: key 'image_id' must be a string",
        ),
        ({"query_id": "q", "results": [{**RESULT, "article_id": ""}]}, "result 1: key 'article_id' is blank"),
        ({"query_id": "q", "results": [RESULT, RESULT]}, r"\(query_id q\): image '00a1' occurs twice"),
        *(
            ({"query_id": "q", "results": [{**RESULT, "score": score}]}, "key 'score' must be a finite number, found")
            for score in ("0.5", None, True, float("nan"), float("inf"), 10**400)
        ),
    ],
)
def test_broken_records(tmp_path, record, message):
    path = written(tmp_path / "r.json", {"query_id": "first", "results": [RESULT]}, record)
    with pytest.raises(ValueError, match=message):
        read_retrieval(path)


def test_what_is_not_written(tmp_path):
    for retrieval, message in (
        ({}, "no query in it"),
        ({" ": ()}, "a query id is blank"),
        ({"q": [Candidate("a", "1", float("nan"))]}, "query 'q', result 1: the score nan is not finite"),
        ({"q": [Candidate("a", "1", 1.0), Candidate("a", "2", 0.5)]}, "query 'q': image 'a' occurs twice"),
    ):
        with pytest.raises(ValueError, match=message):
            write_retrieval(tmp_path / "r.json", retrieval)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["beit3_coco_base", "siglipso", "beit3_base_ft", "expected_stage1"])
def test_published_results(tmp_path, name):
    path = golden_files.beside_the_checkout(f"fixtures/ensemble/{name}.json")
    retrieval = read_retrieval(path)
    assert (len(retrieval), {len(candidates) for candidates in retrieval.values()}) == (150, {10})
    again = write_retrieval(tmp_path / "again.json", retrieval)
    assert json.loads(again.read_text()) == json.loads(path.read_text())

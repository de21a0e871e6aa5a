"""The file in which image retrieval and captioning meet: for every query its ranked candidates, as JSON.

A list of `{"query_id", "results": [{"image_id", "article_id", "score"}, ...]}`. The order of `results` is the ranking:
an ensemble may put scores of different scales into one list, so they need not fall.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path

from diptych.contracts.news import Candidate
from diptych.data.annotations import Record, first_repeated, load_records
from diptych.ranking.known_ids import with_known_keys
from diptych.storage.whole import write_file

DOCS_PAGE = "docs/openevents.md"
_NOT_KNOWN = ("unknown", "#")  # what other programs write where a photo has no article
_HIGHEST_SCORE = 1e300  # not below it: infinity, NaN, and integers that no float can hold


def read_retrieval(path: str | Path, articles: Container[str] | None = None) -> dict[str, tuple[Candidate, ...]]:
    """The candidates of every query, best first, by query id in file order; a query may have none.

    `unknown` and `#` instead of an article id are read as None. The same article may come several times (see
    `first_of_each_article`). `articles`, such as an `ArticleStore`, is asked for every other article id.

    Raises:
        ValueError: the file is absent, a record breaks the format, a query occurs twice, a query has an image twice, a
            score is not finite, or an article is not among `articles`; names record, query and result.
    """
    path = Path(path)
    retrieval: dict[str, tuple[Candidate, ...]] = {}
    for record in load_records(path, DOCS_PAGE, identified_by="query_id"):
        query_id = record.name("query_id")
        if query_id in retrieval:
            raise record.error("the query occurs twice; every query must be there once")
        results = enumerate(record.objects("results"), start=1)
        candidates = tuple(_candidate(Record(f"{record.where}, result {rank}", item)) for rank, item in results)
        _check(candidates, record.where)
        if articles is not None:
            _check_articles(candidates, articles, record)
        retrieval[query_id] = candidates
    return retrieval


def read_retrieval_of(
    path: str | Path, query_ids: Sequence[str], articles: Container[str] | None = None
) -> dict[str, tuple[Candidate, ...]]:
    """As `read_retrieval`, of these queries alone; the file may lack some, and have others.

    Raises:
        ValueError: as `read_retrieval`; or all queries of the file are others.
    """
    return with_known_keys(read_retrieval(path, articles), query_ids, f"entries of {path}", others=True)


def write_retrieval(path: str | Path, retrieval: Mapping[str, Sequence[Candidate]]) -> Path:
    """Write the file in one step, a line per query, so that `read_retrieval` gives the same again.

    Raises:
        ValueError: there is no query, a candidate has no article, a query has an image twice, or a score is not finite.
    """
    path = Path(path)
    if not retrieval:
        raise ValueError(f"{path} is not written: no query in it")
    lines = [json.dumps(_record(query_id, candidates, path)) for query_id, candidates in retrieval.items()]
    write_file(path, ("[" + ",\n".join(lines) + "]\n").encode())
    return path


def first_of_each_article(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """The candidates in their order, without those whose article came before, and those that have none."""
    first: dict[str, Candidate] = {}
    for candidate in candidates:
        if candidate.article_id is not None:
            first.setdefault(candidate.article_id, candidate)
    return tuple(first.values())


def article_ids(retrieval: Mapping[str, Iterable[Candidate]]) -> dict[str, list[str]]:
    """The articles of every query, best first, each once."""
    return {
        query_id: [str(candidate.article_id) for candidate in first_of_each_article(candidates)]
        for query_id, candidates in retrieval.items()
    }


def _record(query_id: str, candidates: Sequence[Candidate], path: Path) -> dict[str, object]:
    where = f"{path} is not written: query {query_id!r}"
    if not query_id.strip():
        raise ValueError(f"{path} is not written: a query id is blank")
    _check(candidates, where)
    for rank, candidate in enumerate(candidates, start=1):
        if candidate.article_id is None or candidate.article_id in _NOT_KNOWN:
            raise ValueError(
                f"{where}, result {rank}: image {candidate.image_id!r} has no article; attach articles first"
            )
    results = [
        {"image_id": candidate.image_id, "article_id": candidate.article_id, "score": float(candidate.score)}
        for candidate in candidates
    ]
    return {"query_id": query_id, "results": results}


def _candidate(record: Record) -> Candidate:
    article_id = record.name("article_id")
    score = record.data.get("score")
    if not isinstance(score, (int, float)) or isinstance(score, bool) or not abs(score) < _HIGHEST_SCORE:
        raise record.error(f"key 'score' must be a finite number, found {score!r:.80}")
    return Candidate(
        image_id=record.name("image_id"),
        article_id=None if article_id in _NOT_KNOWN else article_id,
        score=float(score),
    )


def _check(candidates: Sequence[Candidate], where: str) -> None:
    repeated = first_repeated(candidate.image_id for candidate in candidates)
    if repeated is not None:
        raise ValueError(f"{where}: image {repeated!r} occurs twice among the results")
    for rank, candidate in enumerate(candidates, start=1):
        if not abs(candidate.score) < _HIGHEST_SCORE:
            raise ValueError(f"{where}, result {rank}: the score {candidate.score} is not finite")


def _check_articles(candidates: Sequence[Candidate], articles: Container[str], record: Record) -> None:
    for rank, candidate in enumerate(candidates, start=1):
        if candidate.article_id is not None and candidate.article_id not in articles:
            raise record.error(f"result {rank}: article {candidate.article_id!r} is not in the database")

"""Files of rankings in the forms in which programs write them, told apart by what they hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from diptych.ranking.scored_images import ScoredImages
from diptych.ranking.trec_run import read_trec_run
from diptych.storage.json_files import each_json_line, parse_json, read_json_lines
from diptych.storage.json_shapes import Count, Finite, fault_of
from diptych.storage.regular_file import content_of

LARGEST = 2 * 2**30  # bytes
FORMS = (
    "a file of rankings is a predictions.jsonl, an object {query: [images]} or {query: {image: score}}, records with "
    "query_id and ranked_ids, or with query_id, image_id and score, or a TREC run"
)
_LINE = {
    "ranked_ids": [(str, int)],
    "scores?": [Finite],
    "target_rank?": (Count, None),
    "subset_ids?": [(str, int)],
    "set?": str,
}
_QUERY, _IMAGE = ("query_id", "qid", "q_id"), ("image_id", "doc_id", "docid", "docno")  # ranx, pyserini, PyTerrier
_OURS = "it is the predictions.jsonl of `python evaluate.py ckpt=RUN`"
# Beside the queries, in the files that CIRR's test server takes.
_SERVER_KEYS = ("version", "metric")


@dataclass(frozen=True)
class Rankings:
    """What a file of rankings holds: `lines` by query, in file order, each with keys of an evaluation's
    predictions.jsonl: `query_id`, `ranked_ids`, best first, and where the file has them `scores`, one for each id,
    `subset_ids` and `target_rank`. `form` says in words what the file was taken for; `num_tied` counts the lines that
    were put in the order of their scores and have equal ones, which stand as they do in the file, in a TREC run by
    their ranks.
    """

    form: str
    lines: dict[str, dict[str, Any]]
    num_tied: int = 0

    @property
    def lists(self) -> dict[str, list[str]]:
        """The ranked ids of each query."""
        return {query_id: line["ranked_ids"] for query_id, line in self.lines.items()}

    def of_each(self, key: str) -> dict[str, Any]:
        """What stands under a key, of the lines that have it."""
        return {query_id: line[key] for query_id, line in self.lines.items() if line.get(key) is not None}

    def say(self) -> str:
        """What was read, in one line."""
        lengths = [len(line["ranked_ids"]) for line in self.lines.values()]
        low, high = min(lengths, default=0), max(lengths, default=0)
        said = f"{self.form}: {len(lengths):,} queries with {low:,}{f' to {high:,}' if low < high else ''} images each"
        tied = f"; {self.num_tied:,} of them have equal scores, which stay in the file's order" if self.num_tied else ""
        return said + tied


def read_rankings(path: Path) -> Rankings:
    """The rankings in a file; its form is told by its content, whatever its name is.

    Numbers are ids too, as their digits. Lists stand as they are; what has a score for each image is ranked by it, the
    highest first.

    Raises:
        ValueError: the file is not there or damaged, is of none of the forms, or says something of a query or an image
            twice, a score is no finite number, or lines are of several sets; names file, line or key, and query.
    """
    data = content_of(path, LARGEST, FORMS) or b""
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        raise ValueError(f"{path} holds nothing; {FORMS}")
    if start[:1] not in (b"{", b"["):
        return Rankings("a TREC run", *read_trec_run(path, data, FORMS).lines())
    first, _, rest = start.partition(b"\n")
    if first[:1] == b"{" and first.rstrip().endswith(b"}") and (rest.lstrip()[:1] == b"{" or path.suffix == ".jsonl"):
        return _of_records(path, each_json_line(path, FORMS), "JSON lines")
    content = parse_json(data, path, FORMS)
    if isinstance(content, list):
        records = ((f"{path}: record {number}", record) for number, record in enumerate(content, start=1))
        return _of_records(path, records, "a list")
    return _of_object(path, content)


def _of_object(path: Path, content: dict[str, Any]) -> Rankings:
    if all(isinstance(content.get(key), str) for key in _SERVER_KEYS):
        if content["metric"] != "recall":
            raise ValueError(f"{path}: a server's file of {content['metric']!r}: it does not rank the gallery")
        content = {key: value for key, value in content.items() if key not in _SERVER_KEYS}
    kinds = {type(value) for value in content.values()}
    if kinds == {dict}:
        if (fault := fault_of(content, {str: {str: Finite}})) is not None:
            raise ValueError(f"{path}: {fault}; {FORMS}")
        scored = ScoredImages()
        for query_id, images in content.items():
            scored.add_all(query_id, images)
        return Rankings("an object {query: {image: score}}", *scored.lines())
    if (fault := fault_of(content, {str: [(str, int)]})) is not None:
        raise ValueError(f"{path}: {fault}; {FORMS}")
    lines = {query_id: {"query_id": query_id, "ranked_ids": _texts(ids)} for query_id, ids in content.items()}
    return Rankings("an object {query: [images]}", lines)


def _of_records(path: Path, records: Iterator[tuple[str, Any]], whole: str) -> Rankings:
    """Of records that each have a query's ranking, or each one image of it."""
    listed: dict[str, dict[str, Any]] = {}
    scored, places = ScoredImages(), dict[str, str]()
    for where, record in records:
        query_id, image_id = (_first(record, names) for names in (_QUERY, _IMAGE))
        if query_id is None or ("ranked_ids" not in record and image_id is None):
            keys = ", ".join(map(str, record)) if isinstance(record, Mapping) else f"{record!r:.80}"
            raise ValueError(f"{where}: no record of a ranking ({keys:.200}); {FORMS}")
        if "ranked_ids" not in record:
            scored.add(query_id, str(image_id), record.get("score"), where)
        elif query_id in listed:
            raise ValueError(
                f"{where}: query_id {query_id!r} occurs twice, first in {places[query_id]}; delete one of the lines"
            )
        else:
            listed[query_id], places[query_id] = _line(record, query_id, where), where
    if listed and scored:
        raise ValueError(f"{path}: some records have ranked_ids, others one image; {FORMS}")
    if sets := sorted({line["set"] for line in listed.values() if "set" in line}):
        raise ValueError(f"{path}: its lines are of several sets ({', '.join(sets)}); evaluate on one at a time")
    if scored:
        return Rankings(f"{whole} of records of an image each", *scored.lines())
    return Rankings(f"{whole} of records with ranked_ids", listed)


def _line(record: Mapping[str, Any], query_id: str, where: str) -> dict[str, Any]:
    if (fault := fault_of(record, _LINE, "the record")) is not None:
        raise ValueError(f"{where}: query {query_id!r}: {fault}; {_OURS}")
    if record.get("scores") and len(record["scores"]) != len(record["ranked_ids"]):
        raise ValueError(f"{where}: query {query_id!r} has not one score for each of its ranked_ids; {_OURS}")
    texts = {key: _texts(record[key]) for key in ("ranked_ids", "subset_ids") if record.get(key) is not None}
    return {**record, **texts, "query_id": query_id}


def _first(record: Any, names: tuple[str, ...]) -> str | None:
    """The id under the first of the names that a record has one under."""
    values = (record.get(name) for name in names) if isinstance(record, Mapping) else ()
    return next((str(one) for one in values if isinstance(one, str | int) and not isinstance(one, bool)), None)


def _texts(ids: list[str | int]) -> list[str]:
    return list(map(str, ids))


def read_lines_of_sets(path: Path) -> dict[tuple[str | None, str], dict[str, Any]]:
    """The lines of an evaluation's `predictions.jsonl` by set (None: it has one) and query, in file order.

    Raises:
        ValueError: the file is not there or damaged, or a query occurs twice in a set; names the file.
    """
    lines = read_json_lines(path, advice=_OURS, shape={"query_id": str, **_LINE})
    named = {(line.get("set"), line["query_id"]): line for line in lines}
    if len(named) < len(lines):
        raise ValueError(f"{path}: {len(lines) - len(named)} of its lines are of a query that it has already; {_OURS}")
    return named


def check_scores(path: Path, line: Mapping[str, Any], removed: str | None = None) -> None:
    """Raises ValueError where a line of the file has not one score for each of its ids, each at most the one before;
    that of the image `removed` may be any.
    """
    scores, query_id = line.get("scores") or (), line["query_id"]
    if len(scores) != len(line["ranked_ids"]):
        raise ValueError(f"{path}: query {query_id!r} has not one score for each of its ranked_ids; {_OURS}")
    scores = [score for score, image_id in zip(scores, line["ranked_ids"], strict=True) if image_id != removed]
    if any(one < other for one, other in pairwise(scores)):
        raise ValueError(f"{path}: the scores of query {query_id!r} do not fall from the first to the last; {_OURS}")

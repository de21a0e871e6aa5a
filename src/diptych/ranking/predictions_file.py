"""Files of rankings: the `predictions.jsonl` that an evaluation leaves, and the one JSON object that others write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from diptych.storage.json_files import read_json, read_json_lines
from diptych.storage.json_shapes import Count, Finite

_LINE = {
    "query_id": str,
    "ranked_ids": [str],
    "scores?": [Finite],
    "target_rank?": (Count, None),
    "subset_ids?": [str],
    "set?": str,
}
_ADVICE = "it is the predictions.jsonl of `python evaluate.py ckpt=RUN`"


def read_rankings(path: Path) -> tuple[dict[str, Sequence[str | int]], dict[str, Sequence[str]]]:
    """The ranked ids by query: of a `.jsonl` file that of each line, of any other what its one object says. Then the
    whole order of the query's group, which an evaluation's file has where there are groups: a member may stand behind
    the ids that are kept of the ranking.

    Raises:
        ValueError: as `read_lines`, or the object is none of lists; names the file.
    """
    if path.suffix == ".jsonl":
        lines = read_lines(path)
        subsets = {query_id: line["subset_ids"] for query_id, line in lines.items() if "subset_ids" in line}
        return {query_id: line["ranked_ids"] for query_id, line in lines.items()}, subsets
    advice = 'expected one JSON object {"query id": [ranked ids], ...}'
    return read_json(path, advice, shape={str: [(str, int)]}), {}


def read_lines(path: Path) -> dict[str, dict[str, Any]]:
    """The lines of an evaluation's `predictions.jsonl` by query, in file order.

    Raises:
        ValueError: the file is not there or damaged, a query occurs twice, or the lines are of several sets; names file
            and line.
    """
    lines = read_json_lines(path, advice=_ADVICE, shape=_LINE)
    if sets := sorted({line["set"] for line in lines if "set" in line}):
        raise ValueError(f"{path}: its lines are of several sets ({', '.join(sets)}); evaluate on one at a time")
    named = {line["query_id"]: line for line in lines}
    # Read again only to say which lines are of one query.
    return named if len(named) == len(lines) else read_json_lines(path, "query_id", advice=_ADVICE)


def read_lines_of_sets(path: Path) -> dict[tuple[str | None, str], dict[str, Any]]:
    """The lines of an evaluation's `predictions.jsonl` by set (None: it has one) and query, in file order.

    Raises:
        ValueError: the file is not there or damaged, or a query occurs twice in a set; names the file.
    """
    lines = read_json_lines(path, advice=_ADVICE, shape=_LINE)
    named = {(line.get("set"), line["query_id"]): line for line in lines}
    if len(named) < len(lines):
        raise ValueError(
            f"{path}: {len(lines) - len(named)} of its lines are of a query that it has already; {_ADVICE}"
        )
    return named


def check_scores(path: Path, line: Mapping[str, Any], removed: str | None = None) -> None:
    """Raises ValueError where a line of the file has not one score for each of its ids, each at most the one before;
    that of the image `removed` may be any.
    """
    scores, query_id = line.get("scores", ()), line["query_id"]
    if len(scores) != len(line["ranked_ids"]):
        raise ValueError(f"{path}: query {query_id!r} has not one score for each of its ranked_ids; {_ADVICE}")
    scores = [score for score, image_id in zip(scores, line["ranked_ids"], strict=True) if image_id != removed]
    if any(one < other for one, other in pairwise(scores)):
        raise ValueError(f"{path}: the scores of query {query_id!r} do not fall from the first to the last; {_ADVICE}")

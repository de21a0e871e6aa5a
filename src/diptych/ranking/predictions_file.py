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


def read_lists(path: Path) -> dict[str, Sequence[str | int]]:
    """The ranked ids by query: of a `.jsonl` file that of each line, of any other what its one object says.

    Raises:
        ValueError: as `read_lines`, or the object is none of lists; names the file.
    """
    if path.suffix == ".jsonl":
        return {query_id: line["ranked_ids"] for query_id, line in read_lines(path).items()}
    found: dict[str, Sequence[str | int]] = read_json(
        path, 'expected one JSON object {"query id": [ranked ids], ...}', shape={str: [(str, int)]}
    )
    return found


def read_subsets(path: Path) -> dict[str, Sequence[str]]:
    """The whole order of its group's members by query, which an evaluation's `.jsonl` file has where there are groups:
    a member may stand behind the ids that are kept of the ranking. Empty for other files.

    Raises:
        ValueError: as `read_lines`.
    """
    if path.suffix != ".jsonl":
        return {}
    return {query_id: line["subset_ids"] for query_id, line in read_lines(path).items() if "subset_ids" in line}


def read_lines(path: Path) -> dict[str, dict[str, Any]]:
    """The lines of an evaluation's `predictions.jsonl` by query, in file order.

    Raises:
        ValueError: the file is not there or damaged, a query occurs twice, or the lines are of several sets; names file
            and line.
    """
    lines = read_json_lines(path, advice=_ADVICE, shape=_LINE)
    if sets := sorted({line["set"] for line in lines if "set" in line}):
        raise ValueError(f"{path}: its lines are of several sets ({', '.join(sets)}); evaluate on one at a time")
    return read_json_lines(path, "query_id", advice=_ADVICE)


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

"""The two files of CIRR's test server: writing them, and checking any such file offline."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from diptych.contracts.retrieval import Query, RankedQuery
from diptych.data.triplets.cirr import CIRR
from diptych.submission.json_answers import AnswerReport, read_pairs, repeated_keys, write_answers, wrong_keys
from diptych.submission.verdict import Verdict

VERSION = "rc2"
LENGTHS = {"recall": 50, "recall_subset": 3}
MAX_BYTES = 5_000_000  # the server says 5 MB; the smaller reading is the safe one


class CIRRFormat:
    """CIRR's server as a `RankingFormat`."""

    def write(self, folder: Path, ranked: Iterable[RankedQuery]) -> list[Path]:
        """Write the server's two files."""
        return list(write_cirr(ranked, folder))

    def check(self, path: Path, source: CIRR, split: str) -> Verdict:
        """As `check_cirr`."""
        return check_cirr(path, source, split)


def write_cirr(ranked: Iterable[RankedQuery], folder: Path, name: str = "cirr_test1") -> tuple[Path, Path]:
    """Write the two files of CIRR's server, `<name>.recall.json` and `<name>.recall_subset.json`.

    `subset_ids` of each query must hold its ranked group members without the reference.
    """
    ordered = sorted(ranked, key=lambda query: int(query.query_id))
    recall, subset = (dict[str, str | list[str]](version=VERSION, metric=metric) for metric in LENGTHS)
    for query in ordered:
        recall[query.query_id] = list(query.ranked_ids[: LENGTHS["recall"]])
        subset[query.query_id] = list(query.subset_ids[: LENGTHS["recall_subset"]])
    return write_answers(folder / f"{name}.recall.json", recall), write_answers(
        folder / f"{name}.recall_subset.json", subset
    )


def check_cirr(path: Path, source: CIRR, split: str) -> Verdict:
    """Check a file against the annotations of `source`; every violation is listed, in file order.

    Raises:
        ValueError: the file or the annotations cannot be read.
    """
    pairs = read_pairs(path)
    header = {key: value for key, value in pairs if key in ("version", "metric")}
    violations = []
    if path.stat().st_size > MAX_BYTES:
        violations.append(f"the file has {path.stat().st_size:,} bytes; the server takes at most 5 MB")
    if header.get("version") != VERSION:
        violations.append(f'key "version" must be "{VERSION}", found {json.dumps(header.get("version"))}')
    metric = header.get("metric")
    if not isinstance(metric, str) or metric not in LENGTHS:
        metric = None
        violations.append(f'key "metric" must be "recall" or "recall_subset", found {json.dumps(header.get("metric"))}')
    violations += repeated_keys(pairs)
    answers = {key: value for key, value in pairs if key not in header}
    queries = {query.query_id: query for query in source.queries(split)}
    violations += wrong_keys(answers, queries)
    length = None if metric is None else LENGTHS[metric]
    known = {image.image_id for image in source.gallery(split)}
    for query_id, answer in answers.items():
        if query_id in queries:
            query = queries[query_id]
            members = set(query.group_member_ids) if metric == "recall_subset" else None
            violations += _wrong_cirr_answer(query, answer, length, known, members)
    return Verdict(tuple(violations))


def _wrong_cirr_answer(
    query: Query, answer: Any, length: int | None, known: set[str], members: set[str] | None
) -> list[str]:
    report = AnswerReport(query.query_id)
    names = report.accept(answer, _as_name, "an image name (a string)")
    report.check_length(answer, length)
    report.check_repeated(names)
    for name in names:
        if name not in known:
            suffix = "; names have no extension" if name.endswith(".png") else ""
            report.add(f"image {name} is not in the split's list of images{suffix}")
        elif members is not None and name not in members:
            report.add(f"image {name} is not among the six images of the query's set")
    if query.reference_image in names:
        report.add(f"image {query.reference_image} is the query's own reference")
    return report.violations


def _as_name(element: Any) -> str | None:
    return element if isinstance(element, str) else None

"""Submission files of the CIRR and CIRCO test servers: writing them, and checking any such file offline.

    python -m diptych.submission check FILE data=cirr [root=PATH] [split=test]

A file that passes has exactly the server's keys and lists; whether its answers are right only the server knows.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diptych.contracts import Query, RankedQuery, TripletSource
from diptych.data.circo import CIRCO
from diptych.data.cirr import CIRR

log = logging.getLogger(__name__)

CIRR_VERSION = "rc2"
CIRR_LENGTHS = {"recall": 50, "recall_subset": 3}
CIRR_MAX_BYTES = 5_000_000  # the server says 5 MB; the smaller reading is the safe one
CIRCO_LENGTH = 50
_SHOWN = 20

# ---------------------------------------------------------------------------------------------------- writing


def write(folder: Path, ranked: Iterable[RankedQuery], source: TripletSource, split: str = "test") -> list[Path]:
    """Write and check the files that the source's server takes; none for a source that has no server.

    A file that breaks a rule, for example because the gallery is short, is written all the same and the log says so.
    """
    if isinstance(source, CIRR):
        paths = list(write_cirr(ranked, folder))
    elif isinstance(source, CIRCO):
        paths = [write_circo(ranked, folder)]
    else:
        return []
    for path in paths:
        verdict = check(path, source, split)
        if verdict.violations:
            log.warning("the server would refuse this file:\n%s", _describe(path, verdict).rstrip())
    return paths


def write_cirr(ranked: Iterable[RankedQuery], folder: Path, name: str = "cirr_test1") -> tuple[Path, Path]:
    """Write the two files of CIRR's server, `<name>.recall.json` and `<name>.recall_subset.json`.

    `subset_ids` of each query must hold its ranked group members without the reference.
    """
    ordered = sorted(ranked, key=lambda query: int(query.query_id))
    recall, subset = ({"version": CIRR_VERSION, "metric": metric} for metric in CIRR_LENGTHS)
    for query in ordered:
        recall[query.query_id] = list(query.ranked_ids[: CIRR_LENGTHS["recall"]])
        subset[query.query_id] = list(query.subset_ids[: CIRR_LENGTHS["recall_subset"]])
    return _write(folder / f"{name}.recall.json", recall), _write(folder / f"{name}.recall_subset.json", subset)


def write_circo(ranked: Iterable[RankedQuery], folder: Path, name: str = "circo_test") -> Path:
    """Write the file of CIRCO's server, `<name>.json`: query id to 50 integer image ids."""
    ordered = sorted(ranked, key=lambda query: int(query.query_id))
    return _write(
        folder / f"{name}.json",
        {query.query_id: [int(image) for image in query.ranked_ids[:CIRCO_LENGTH]] for query in ordered},
    )


def _write(path: Path, content: Mapping[str, Any]) -> Path:
    """Write beside and rename, so that an interrupted run leaves no half file under the final name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")
    return partial.replace(path)


# ---------------------------------------------------------------------------------------------------- checking


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found: the broken rules, each with query and image id, and the rules that could not be checked."""

    violations: tuple[str, ...]
    unchecked: tuple[str, ...] = ()


def check(path: Path, source: CIRR | CIRCO, split: str = "test") -> Verdict:
    """Check a submission file against the annotations of `source`; every violation is listed, in file order.

    Raises:
        ValueError: the file or the annotations cannot be read.
    """
    pairs = _read_pairs(path)
    if isinstance(source, CIRR):
        return _check_cirr(path, pairs, source, split)
    return _check_circo(pairs, source, split)


def _check_cirr(path: Path, pairs: _Pairs, source: CIRR, split: str) -> Verdict:
    header = {key: value for key, value in pairs if key in ("version", "metric")}
    violations = []
    if path.stat().st_size > CIRR_MAX_BYTES:
        violations.append(f"the file has {path.stat().st_size:,} bytes; the server takes at most 5 MB")
    if header.get("version") != CIRR_VERSION:
        violations.append(f'key "version" must be "{CIRR_VERSION}", found {json.dumps(header.get("version"))}')
    metric = header.get("metric")
    if not isinstance(metric, str) or metric not in CIRR_LENGTHS:
        metric = None
        violations.append(f'key "metric" must be "recall" or "recall_subset", found {json.dumps(header.get("metric"))}')
    violations += _repeated_keys(pairs)
    answers = {key: value for key, value in pairs if key not in header}
    queries = {query.query_id: query for query in source.queries(split)}
    violations += _wrong_keys(answers, queries)
    length = None if metric is None else CIRR_LENGTHS[metric]
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
    report = _AnswerReport(query.query_id)
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


def _check_circo(pairs: _Pairs, source: CIRCO, split: str) -> Verdict:
    violations = _repeated_keys(pairs)
    answers = dict(pairs)
    queries = {query.query_id: query for query in source.queries(split)}
    violations += _wrong_keys(answers, queries)
    known, unchecked = None, []
    if source.image_info.is_file():
        known = source.image_file_names().keys()
    else:
        unchecked.append(
            f"not checked: whether the ids are among COCO's 123,403 unlabelled images, as {source.image_info} is absent"
        )
    for query_id, answer in answers.items():
        if query_id not in queries:
            continue
        report = _AnswerReport(query_id)
        images = report.accept(answer, _as_integer, "an image id (an integer, or one as text)")
        report.check_length(answer, CIRCO_LENGTH)
        report.check_repeated(images)
        for image in images:
            if known is not None and str(image) not in known:
                report.add(f"image {image} is not among COCO's unlabelled images")
        violations += report.violations
    return Verdict(tuple(violations), tuple(unchecked))


@dataclass
class _AnswerReport:
    """Collects what is wrong with one query's list."""

    query_id: str
    violations: list[str] = field(default_factory=list)

    def add(self, message: str) -> None:
        self.violations.append(f"query {self.query_id}: {message}")

    def accept(self, answer: Any, convert: Callable[[Any], Any], expected: str) -> list[Any]:
        """The converted elements; those of a wrong type are reported and left out."""
        if not isinstance(answer, list):
            self.add(f"expected a list of image ids, found {json.dumps(answer):.80}")
            return []
        converted = [convert(element) for element in answer]
        for element, value in zip(answer, converted, strict=True):
            if value is None:
                self.add(f"expected {expected}, found {json.dumps(element):.80}")
        return [value for value in converted if value is not None]

    def check_length(self, answer: Any, length: int | None) -> None:
        if isinstance(answer, list) and length is not None and len(answer) != length:
            self.add(f"must list {length} images, lists {len(answer)}")

    def check_repeated(self, images: Sequence[Any]) -> None:
        for image, count in Counter(images).items():
            if count > 1:
                self.add(f"image {image} appears {'twice' if count == 2 else f'{count} times'}")


def _as_name(element: Any) -> str | None:
    return element if isinstance(element, str) else None


def _as_integer(element: Any) -> int | None:
    if isinstance(element, str) and element.isascii() and element.isdigit() and len(element) <= 12:
        return int(element)
    return element if isinstance(element, int) and not isinstance(element, bool) else None


def _repeated_keys(pairs: _Pairs) -> list[str]:
    counts = Counter(key for key, _ in pairs)
    return [f"query {key}: the key occurs {count} times in the file" for key, count in counts.items() if count > 1]


def _wrong_keys(answers: Mapping[str, Any], queries: Mapping[str, Query]) -> list[str]:
    unknown = [f"query {key}: no query of the split has this id" for key in answers if key not in queries]
    missing = [f"query {key}: missing from the file" for key in queries if key not in answers]
    return unknown + missing


class _Pairs(tuple[tuple[str, Any], ...]):
    """The (key, value) pairs of a JSON object; a dict would hide keys that occur twice."""

    __slots__ = ()


def _read_pairs(path: Path) -> _Pairs:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_Pairs)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}, line {error.lineno}, column {error.colno}: not valid JSON ({error.msg})") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, _Pairs):
        raise ValueError(f"{path}: expected a JSON object of query id to ranked image ids")
    return content


# ---------------------------------------------------------------------------------------------------- command line


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a file from the command line. Returns 0 if it passes, 1 if not, 2 if it cannot be checked."""
    parser = argparse.ArgumentParser(
        prog="python -m diptych.submission", description="Check a submission file offline."
    )
    parser.add_argument("action", choices=["check"])
    parser.add_argument("file", type=Path)
    parser.add_argument("settings", nargs="+", metavar="data=cirr|circo [root=PATH] [split=test]")
    parsed = parser.parse_args(arguments)
    try:
        source, split = _source(parsed.settings)
        verdict = check(parsed.file, source, split)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(_describe(parsed.file, verdict))
    return 1 if verdict.violations else 0


def _source(settings: Sequence[str]) -> tuple[CIRR | CIRCO, str]:
    values = dict(setting.partition("=")[::2] for setting in settings)
    unknown = values.keys() - {"data", "root", "split"}
    if unknown or not all(values.values()):
        raise ValueError(f"cannot read {' '.join(settings)!r}; expected data=cirr or data=circo, root=PATH, split=test")
    sources = {"cirr": CIRR, "circo": CIRCO}
    data = values.get("data")
    if data not in sources:
        raise ValueError(f"data={data} has no test server; choose data=cirr or data=circo")
    root = values.get("root") or Path(os.environ.get("DIPTYCH_DATA", "data")) / data
    return sources[data](root), values.get("split", "test")


def _describe(path: Path, verdict: Verdict) -> str:
    lines = list(verdict.violations[:_SHOWN])
    hidden = len(verdict.violations) - len(lines)
    if hidden:
        lines.append(f"... and {hidden:,} more")
    lines += verdict.unchecked
    count = len(verdict.violations)
    lines.append(f"{path}: {f'{count:,} violations' if count else 'keeps every rule that was checked'}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())

"""The file of CIRCO's test server: writing it, and checking any such file offline."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from diptych.contracts.retrieval import RankedQuery
from diptych.data.triplets.circo import CIRCO
from diptych.submission.json_answers import AnswerReport, read_pairs, repeated_keys, write_answers, wrong_keys
from diptych.submission.verdict import Verdict

LENGTH = 50


class CIRCOFormat:
    """CIRCO's server as a `RankingFormat`."""

    def write(self, folder: Path, ranked: Iterable[RankedQuery]) -> list[Path]:
        """Write the server's file."""
        return [write_circo(ranked, folder)]

    def check(self, path: Path, source: CIRCO, split: str) -> Verdict:
        """As `check_circo`."""
        return check_circo(path, source, split)


def write_circo(ranked: Iterable[RankedQuery], folder: Path, name: str = "circo_test") -> Path:
    """Write the file of CIRCO's server, `<name>.json`: query id to 50 integer image ids."""
    ordered = sorted(ranked, key=lambda query: int(query.query_id))
    return write_answers(
        folder / f"{name}.json",
        {query.query_id: [int(image) for image in query.ranked_ids[:LENGTH]] for query in ordered},
    )


def check_circo(path: Path, source: CIRCO, split: str) -> Verdict:
    """Check a file against the annotations of `source`; every violation is listed, in file order.

    Raises:
        ValueError: the file or the annotations cannot be read.
    """
    pairs = read_pairs(path)
    violations = repeated_keys(pairs)
    answers = dict(pairs)
    queries = {query.query_id: query for query in source.queries(split)}
    violations += wrong_keys(answers, queries)
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
        report = AnswerReport(query_id)
        images = report.accept(answer, _as_integer, "an image id (an integer, or one as text)")
        report.check_length(answer, LENGTH)
        report.check_repeated(images)
        for image in images:
            if known is not None and str(image) not in known:
                report.add(f"image {image} is not among COCO's unlabelled images")
        violations += report.violations
    return Verdict(tuple(violations), tuple(unchecked))


def _as_integer(element: Any) -> int | None:
    if isinstance(element, str) and element.isascii() and element.isdigit() and len(element) <= 12:
        return int(element)
    return element if isinstance(element, int) and not isinstance(element, bool) else None

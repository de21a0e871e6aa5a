"""The page about all studies: a row for each, with its verdicts and a link."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from diptych.report.rendering import write_page
from diptych.studying.hypotheses import REFUTED, SUPPORTED, UNDECIDED, Verdict
from diptych.studying.result import StudyResult, time_text
from diptych.studying.table import least_of

FILE = "index.html"


@dataclass(frozen=True, slots=True)
class Difference:
    """What a verdict rests on, as the small chart takes it; `value` is None where there is nothing."""

    word: str
    value: float | None
    interval: tuple[float, float] | None
    least: float


@dataclass(frozen=True, slots=True)
class StudyRow:
    """A study in the index. `page` is the address of its page, relative to the index; a study that could not be run has
    none, and its `problem` says why.
    """

    name: str
    question: str
    size: str
    verdicts: Sequence[Verdict] = ()
    differences: Sequence[Difference] = ()
    time: str = ""
    page: str = ""
    problem: str = ""


def study_row(result: StudyResult, page: Path, index: Path) -> StudyRow:
    """The row of a study whose page is at `page`, in an index in the folder `index`, in or below which it lies."""
    return StudyRow(
        result.study.name,
        result.study.question,
        "quick" if result.study.quick else "full",
        result.verdicts,
        [_difference(verdict) for verdict in result.verdicts],
        time_text(result.seconds),
        quote(page.relative_to(index).as_posix()),
    )


def write_index(folder: Path, rows: Sequence[StudyRow]) -> Path:
    """Writes `<folder>/index.html` and returns its path."""
    counts = Counter(verdict.word for row in rows for verdict in row.verdicts)
    told = ", ".join(f"{counts[word]} {word}" for word in (SUPPORTED, REFUTED, UNDECIDED))
    page = folder / FILE
    write_page(
        page,
        "studies.html.jinja",
        title="Studies",
        lead=f"{len(rows)} studies, {sum(counts.values())} hypotheses: {told}",
        studies=rows,
    )
    return page


def _difference(verdict: Verdict) -> Difference:
    found = verdict.comparison
    if found is None:
        return Difference(verdict.word, None, None, 0.0)
    return Difference(verdict.word, found.difference, found.interval, least_of(verdict))

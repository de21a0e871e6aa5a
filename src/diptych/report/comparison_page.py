"""Two evaluations on the same queries as one page: what got better, what got worse, and the queries that moved most."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from diptych.contracts.retrieval import MetricMeaning
from diptych.report.cards import shown_frames
from diptych.report.moved_queries import Compared, by_aspect, count_moves, most_moved, moved_card
from diptych.report.pictures import Thumbnails
from diptych.report.rendering import Section, write_page
from diptych.results.meanings import Meanings
from diptych.results.results_table import (
    aspect_label,
    format_difference,
    format_value,
    label,
    protocol_facts,
    protocol_line,
)

log = logging.getLogger(__name__)

MOST, NUM_RESULTS = 20, 6
_COLUMNS = ("run 1", "run 2", "difference", "95 % interval", "p", "better")
_ABOUT_METRICS = (
    "Run 2 minus run 1 on the same queries: bootstrap interval, and p of a paired randomisation. A run is called better"
    " where both speak for it; of twenty metrics, one has p below 0.05 by chance."
)
_MOVES = ("queries", "rank better", "rank worse", "rank the same")


@dataclass(frozen=True, slots=True)
class MetricDifference:
    """What two runs have of one metric, as stored, with the interval and p-value of `second - first`; `better` is 0 or
    1, the run that is better, None where that is not shown.
    """

    metric: str
    meaning: MetricMeaning
    first: float
    second: float
    interval: tuple[float, float]
    p_value: float
    better: int | None

    @property
    def cells(self) -> list[str]:
        """As a table shows them, below `_COLUMNS`."""
        low, high = (format_difference(self.meaning, bound) for bound in self.interval)
        return [
            format_value(self.meaning, self.first),
            format_value(self.meaning, self.second),
            format_difference(self.meaning, self.second - self.first),
            f"[{low}, {high}]",
            f"{self.p_value:.4f}",
            "" if self.better is None else f"run {self.better + 1}",
        ]


def write_comparison(
    folder: Path,
    names: tuple[str, str],
    result: Mapping[str, Any],
    differences: Sequence[MetricDifference],
    left_out: Mapping[str, str],
    compared: Sequence[Compared],
    image_path: Callable[[str, str], Path | None],
) -> Path:
    """Writes `folder/index.html`, which needs no other file and no network, and returns its path.

    Args:
        folder: Made if it does not exist; the page of an earlier comparison is replaced.
        names: What the two runs are called, in the order in which they are compared.
        result: The second run's `metrics.json`: protocol and gallery are those of both.
        differences: All metrics that were compared.
        left_out: Why others were not, by metric.
        compared: All queries, in file order.
        image_path: The file of an image by set and id, or None. What is missing or unreadable is a grey tile.
    """
    primary = result["protocol"].get("primary_metric")
    chosen = next((row for row in differences if row.metric == primary), differences[0])
    parts = Meanings(result)
    overall = [row for row in differences if parts.split(row.metric)[3] is None]
    tables = {
        "metrics": (("metric", *_COLUMNS), [(label(row.metric, row.meaning), row.cells) for row in overall]),
        "kinds": _kinds(chosen, differences, compared),
    }
    sections = [Section("metrics", "Metrics", _ABOUT_METRICS)]
    if tables["kinds"][1]:
        sections.append(Section("kinds", "By kind", "A query with changes of several kinds counts in each."))
    sections += [*_moved_sections(compared, image_path), Section("runs", "What was compared")]
    facts = [*((f"run {number}", name) for number, name in enumerate(names, start=1)), *protocol_facts(result)]
    thumbnails = Thumbnails()
    write_page(
        folder / "index.html",
        "comparison.html.jinja",
        title=f"{names[0]} and {names[1]}",
        lead=f"Protocol {protocol_line(result)}",
        headline=_headline(chosen, compared),
        sections=sections,
        facts=facts,
        tables=tables,
        left_out=_by_reason(left_out),
        frames=shown_frames(answered=True),
        picture=thumbnails.data_uri,
        aspect_label=aspect_label,
    )
    if thumbnails.unreadable:
        number, first = len(thumbnails.unreadable), thumbnails.unreadable[0]
        log.warning("%d pictures of the page are grey tiles: they cannot be read, the first is %s", number, first)
    return folder / "index.html"


def _moved_sections(compared: Sequence[Compared], image_path: Callable[[str, str], Path | None]) -> Iterator[Section]:
    """The queries that moved most, for the better and for the worse."""
    better, worse = most_moved(compared, MOST)
    moved = count_moves(compared)
    for which, queries, number in (("better", better, moved[0]), ("worse", worse, moved[1])):
        cards = [moved_card(each, partial(image_path, each.set_name), NUM_RESULTS) for each in queries]
        explanation = f"No query's target ranks {which} in run 2."
        if number:
            explanation = (
                f"{len(cards)} of the {number:,} queries whose target ranks {which} in run 2, those first whose rank"
                " changed most, as a ratio: from 10 to 1 is more than from 100 to 50."
            )
        yield Section(which, f"{which.title()} in run 2", explanation, cards)


def _headline(chosen: MetricDifference, compared: Sequence[Compared]) -> str:
    first, second, difference, interval, _, _ = chosen.cells
    verdict = "no difference is shown" if chosen.better is None else f"run {chosen.better + 1} is better"
    better, worse, same = count_moves(compared)
    counts = f"{better:,} targets rank better in run 2, {worse:,} worse, {same:,} the same"
    return (
        f"{label(chosen.metric, chosen.meaning)}: {first} and {second}, {difference} {interval}: {verdict} · {counts}"
    )


def _kinds(
    chosen: MetricDifference, differences: Sequence[MetricDifference], compared: Sequence[Compared]
) -> tuple[tuple[str, ...], list[tuple[str, list[str]]]]:
    """How many targets of each kind moved, and the metric where it was measured by kind."""
    by_name = {row.metric: row for row in differences}
    rows = []
    for (set_name, aspect), queries in by_aspect(compared).items():
        key = "/".join(part for part in (set_name, chosen.metric, aspect) if part)
        cells = by_name[key].cells if key in by_name else [""] * len(_COLUMNS)
        name = f"{set_name}: {aspect_label(aspect)}" if set_name else aspect_label(aspect)
        rows.append((name, [f"{len(queries):,}", *(f"{count:,}" for count in count_moves(queries)), *cells]))
    return (label(chosen.metric, chosen.meaning), *_MOVES, *_COLUMNS), rows


def _by_reason(left_out: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        found.setdefault(reason, []).append(name)
    return found

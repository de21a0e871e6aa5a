"""The report of an evaluation of captions as one HTML file: numbers, then photos with their captions and evidence."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.report.caption_cards import CaptionCard, choose_cards
from diptych.report.charts import Bar
from diptych.report.pictures import Thumbnails
from diptych.report.rendering import Section, write_page
from diptych.results.replaced_settings import replaced_settings
from diptych.results.results_table import (
    MODEL,
    NO_VALUE,
    MetricRow,
    aspect_label,
    format_value,
    label,
    metric_rows,
    title_line,
    variants,
)

log = logging.getLogger(__name__)

PHOTO_SIZE = 320
_ABOUT = {
    "evidence_recall": "Of the names, dates and numbers of the reference captions, those that stand in the prompt.",
    "article_recall": "The same, had the prompt held the whole of the article that its evidence was chosen from: what"
    " is lacking here was not lost in choosing.",
    "fact_recall": "Of the facts that captions need, those whose sentence stands in the prompt, by the third of its"
    " article in which it begins. A wrong article has none.",
}
_KNOWN_KEYS = (
    *("experiment", "data", "split", "metrics", "queries", "references_per_item", "lines", "about"),
    *("signatures", "replaced", "replaced_from"),
)


def write_caption_report(
    folder: Path, record: Mapping[str, Any], cards: Sequence[CaptionCard], max_cards: int = 60
) -> Path:
    """Writes `folder/index.html` and returns its path; the same arguments and files give the same bytes.

    Args:
        folder: Made if it does not exist; the page of an earlier report is replaced.
        record: The content of `metrics.json`. A metric `prefix/name` stands in the column `prefix` beside `name`.
        cards: Every scored query, in file order; what is shown of them is chosen by `choose_cards`. A photo that is
            missing or unreadable is shown as a grey tile, and the log counts them.
        max_cards: Shown on the page: 30 KB each for photographs and articles of 5,000 characters.
    """
    if max_cards < 1:
        raise ValueError(f"max_cards must be at least 1, got {max_cards}")
    thumbnails = Thumbnails(PHOTO_SIZE)
    shown = choose_cards(cards, max_cards) if cards else [Section("all", "All queries", "No query was scored.", ())]
    queries, rows = record["queries"], metric_rows(record)
    by_aspect = _by_aspect(rows)
    numbers = [Section("metrics", "Metrics"), *([Section("evidence", "Evidence recall")] if by_aspect else [])]
    page = folder / "index.html"
    write_page(
        page,
        "captions.html.jinja",
        title=title_line(record),
        lead=f"{queries['scored']:,} of {queries['expected']:,} queries scored",
        sections=[*numbers, *shown],
        metrics=_metrics(rows),
        by_aspect=by_aspect,
        facts=_facts(record),
        signatures=record.get("signatures") or (),
        replaced=replaced_settings(record),
        picture=thumbnails.data_uri,
        number=_number,
    )
    if thumbnails.unreadable:
        number, first = len(thumbnails.unreadable), thumbnails.unreadable[0]
        log.warning("%d photos of the report are grey tiles: they cannot be read, the first is %s", number, first)
    return page


def _metrics(rows: Sequence[MetricRow]) -> tuple[list[str], list[tuple[str, list[str]]]] | None:
    """Columns and rows: a row for each metric, a column for each prefix."""
    overall = [row for row in rows if row.aspect is None]
    columns = variants(overall)
    body = [(label(row.metric, row.meaning), _cells(row, columns)) for row in overall]
    return (["metric", *columns], body) if overall else None


def _by_aspect(rows: Sequence[MetricRow]) -> list[dict[str, Any]]:
    """Of each metric with aspects its table, a row for all and for each aspect, and the model's bars in percent."""
    tables = []
    for metric in dict.fromkeys(row.metric for row in rows if row.aspect is not None):
        own = [row for row in rows if row.metric == metric]
        columns = variants(own)
        names = ["all" if row.aspect is None else aspect_label(row.aspect) for row in own]
        bars = [(name, [_bar(row)]) for name, row in zip(names, own, strict=True)]
        tables.append(
            {
                "name": label(metric, own[0].meaning),
                "about": _ABOUT.get(metric, ""),
                "columns": [label(metric, own[0].meaning), *columns],
                "rows": [(name, _cells(row, columns)) for name, row in zip(names, own, strict=True)],
                "bars": bars if own[0].meaning.unit == "fraction" else [],
            }
        )
    return tables


def _bar(row: MetricRow) -> Bar:
    cell = row.cells.get(MODEL)
    return Bar(MODEL, None if cell is None or math.isnan(cell.value) else 100 * cell.value)


def _cells(row: MetricRow, columns: Sequence[str]) -> list[str]:
    """A row's numbers, in the metric's own unit."""
    cells = []
    for column in columns:
        cells.append(format_value(row.meaning, row.cells[column].value) if column in row.cells else "")
    return cells


def _facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the numbers rest on, then everything else that the record holds."""
    facts = [(f"{name} rests on", str(line)) for name, line in (record.get("lines") or {}).items()]
    others = [(key.replace("_", " "), value) for key, value in record.items() if key not in _KNOWN_KEYS]
    return facts + [(name, _in_words(value)) for name, value in others if value not in (None, "", {}, [])]


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_in_words(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_in_words, value))
    return str(value)


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return NO_VALUE
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.0f}"

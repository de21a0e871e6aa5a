"""The numbers of a `metrics.json` as rows: for the terminal (`results_table`) and for the report.

Fractions are stored from 0 to 1 and shown in percent, counts and scores are shown as they are: this file does the
conversion, as each metric asks for it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from diptych.contracts.retrieval import BASELINES, MetricMeaning
from diptych.results.meanings import Meanings
from diptych.text.terminal import PlainConsole

MODEL = "model"
NO_VALUE = "–"
ASPECT_GROUPS = {  # by an aspect's first word
    "changes": "number of changes",
    "changed": "kind of change",
    "shortcut": "what solves it alone",
}
OTHER_ASPECTS = "aspect"
_PARTS = {  # of `metrics.retrieval.composition`, in words
    "shortcut_image": "the picture alone",
    "shortcut_text": "the text alone",
    "shortcut_free": "neither",
}
_FILE_WIDTH = 160  # of a table that goes into a file


@dataclass(frozen=True, slots=True)
class Cell:
    """One number with its 95 % interval (None where it has none), both as stored."""

    value: float
    interval: tuple[float, float] | None = None


@dataclass(slots=True)
class MetricRow:
    """One metric with a cell per variant: `model`, and the baselines or other captions beside it.

    `meaning` says how it is to be read. `set_name` is None, or one of several evaluation sets (FashionIQ's `dress`);
    `aspect` is None, or the group of queries that the metric covers (`changes_2`).
    """

    metric: str
    meaning: MetricMeaning
    set_name: str | None = None
    aspect: str | None = None
    cells: dict[str, Cell] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The metric's key as `metrics.json` has it for the model."""
        return "/".join(part for part in (self.set_name, self.metric, self.aspect) if part is not None)


def metric_rows(result: Mapping[str, Any]) -> list[MetricRow]:
    """The metrics over all queries, in stored order; then those per aspect: by number of changes, `changes_2` before
    `changes_10`, by kind of change, by what solves a query alone, then others.

    Keys are split, and read, as `Meanings` does. A value that is None (JSON has no NaN) becomes NaN.
    """
    intervals = result.get("intervals") or {}
    meanings = Meanings(result)
    rows: dict[tuple[str, str | None, str | None], MetricRow] = {}
    for key, value in result["metrics"].items():
        set_name, baseline, metric, aspect = meanings.split(key)
        row = rows.setdefault((metric, set_name, aspect), MetricRow(metric, meanings.of(key), set_name, aspect))
        bounds = intervals.get(key)
        interval = None if bounds is None else (stored_number(bounds[0]), stored_number(bounds[1]))
        row.cells[baseline or MODEL] = Cell(stored_number(value), interval)
    overall = [row for row in rows.values() if row.aspect is None]
    per_aspect = [row for row in rows.values() if row.aspect is not None]
    groups = list(dict.fromkeys((row.set_name, row.metric) for row in per_aspect))
    order = (*ASPECT_GROUPS.values(), OTHER_ASPECTS)
    per_aspect.sort(
        key=lambda row: (
            groups.index((row.set_name, row.metric)),
            order.index(aspect_group(row.aspect or "")),
            natural_order(row.aspect or ""),
        )
    )
    return overall + per_aspect


def variants(rows: list[MetricRow]) -> list[str]:
    """The columns that the rows fill: the model, then the baselines, then other captions, that were evaluated."""
    filled = dict.fromkeys(name for row in rows for name in row.cells)
    baselines = [name for name in BASELINES if name in filled]
    return [MODEL, *baselines, *(name for name in filled if name not in (MODEL, *BASELINES))]


def shown_scale(meaning: MetricMeaning) -> float:
    """What a stored value is multiplied by to be shown: 100 for fractions, which are shown in percent."""
    return 100.0 if meaning.unit == "fraction" else 1.0


def format_value(meaning: MetricMeaning, value: float, digits: int | None = None) -> str:
    """`62.05` for the fraction 0.6205, `3.0` for a count of 3, `0.1235` for a score; a dash for NaN. `digits` are the
    decimals where others are wanted.
    """
    if math.isnan(value):
        return NO_VALUE
    usual = {"fraction": 2, "count": 1, "score": 4}[meaning.unit]
    return f"{shown_scale(meaning) * value:.{usual if digits is None else digits}f}"


def format_difference(meaning: MetricMeaning, value: float) -> str:
    """As `format_value`, with its sign: `+1.20`, for fractions in points of percent; `+0.00` of what rounds to 0."""
    shown = format_value(meaning, value).lstrip("-")
    return ("-" if value < 0 and float(shown) else "+") + shown


def format_interval(meaning: MetricMeaning, interval: tuple[float, float] | None) -> str:
    """`[58.1, 66.0]` in the unit of `format_value`; empty without an interval."""
    if interval is None or any(math.isnan(bound) for bound in interval):
        return ""
    digits = 1 if meaning.unit == "fraction" else None
    return f"[{', '.join(format_value(meaning, bound, digits) for bound in interval)}]"


def label(name: str, meaning: MetricMeaning) -> str:
    """A metric's name with its unit if it has one: `recall_at_1 (%)`."""
    return f"{name} (%)" if meaning.unit == "fraction" else name


def aspect_group(aspect: str) -> str:
    """By what the aspect divides the queries: `number of changes` (`changes_2`), `kind of change` (`changed_colour`),
    `what solves it alone` (`shortcut_text`), or `aspect` for all others.
    """
    word, _, rest = aspect.partition("_")
    known = rest.isdigit() if word == "changes" else aspect in _PARTS if word == "shortcut" else bool(rest)
    return ASPECT_GROUPS.get(word, OTHER_ASPECTS) if known else OTHER_ASPECTS


def aspect_label(aspect: str) -> str:
    """The aspect in words: `1 change` for `changes_1`, `colour` for `changed_colour`, `the text alone` for
    `shortcut_text`, `direct addressing` for `direct_addressing`.
    """
    group, rest = aspect_group(aspect), aspect.partition("_")[2]
    if aspect in _PARTS:
        return _PARTS[aspect]
    if group == ASPECT_GROUPS["changes"]:
        return f"{rest} change" + ("" if rest == "1" else "s")
    return (rest if group == ASPECT_GROUPS["changed"] else aspect).replace("_", " ")


def title_line(result: Mapping[str, Any]) -> str:
    """What was evaluated on what: `cir_rooms on rooms test`. Without an experiment, predictions were scored."""
    data = result["data"] if isinstance(result["data"], str) else ", ".join(result["data"])
    return f"{result.get('experiment') or 'predictions'} on {data} {result['split']}"


def protocol_line(result: Mapping[str, Any]) -> str:
    """`hotel_cir v1 @partial(548/550)`, as `EvaluationProtocol.describe` has it; a stored `line` names them all."""
    protocol = result["protocol"]
    if protocol.get("line"):
        return str(protocol["line"])
    partial = f" @partial({protocol['partial']})" if protocol.get("partial") else ""
    return f"{protocol['name']} v{protocol['version']}{partial}"


def protocol_facts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a retrieval's numbers rest on, as (name, value) pairs: two results compare only when all are equal."""
    protocol, gallery = result["protocol"], result["gallery"]
    images = "not read: the predictions name its images"
    if gallery["size"] is not None:
        images = f"{gallery['size']:,} images, sha256 {gallery['sha256'][:12]}"
    own = "each query's own alone" if protocol.get("candidates") == "group" else ""
    facts = [
        ("protocol", protocol_line(result)),
        ("candidates", own),
        ("gallery", f"{protocol.get('gallery', '')} ({images})".strip()),
        ("reference image", "left out of the ranking" if protocol.get("exclude_reference") else "stays in the ranking"),
        ("text", str(protocol.get("text_template", ""))),
        ("several captions", str(protocol.get("caption_joining", ""))),
        ("queries", coverage(result)),
    ]
    return [(name, value) for name, value in facts if value]


def coverage(result: Mapping[str, Any]) -> str:
    """How many of the split's queries were scored: `scored 548/550`."""
    queries = result["queries"]
    return f"scored {queries['scored']:,}/{queries['expected']:,}"


def results_table(result: Mapping[str, Any]) -> Table:
    """The table that `evaluate.py` prints: a row per metric, the model with its 95 % interval if there are any, then
    the baselines, or the captions beside the model's; and the number of queries where a metric covers only some.

    The title names experiment, data, split and protocol; the caption the gallery, its fingerprint and the coverage.
    """
    rows = metric_rows(result)
    has_intervals = bool(result.get("intervals"))
    title, facts = title_line(result), [("queries", coverage(result))]
    if "protocol" in result:
        title, facts = f"{title}, protocol {protocol_line(result)}", protocol_facts(result)[1:]
    table = Table(
        title=Text(title),
        caption=Text("; ".join(f"{name}: {value}" for name, value in facts)),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("metric", overflow="fold", ratio=1)  # a narrow terminal folds names, never cuts digits
    columns, counts = variants(rows), result.get("aspect_queries")
    if counts:
        table.add_column("queries", justify="right")
    for name in columns:
        table.add_column(name.replace("_", "\n"), justify="right", min_width=6)
        if name == MODEL and has_intervals:
            table.add_column("95 %\ninterval", justify="right", min_width=13)
    for row in rows:
        cells = [Text(label(row.key, row.meaning))]
        if counts:
            number = counts.get("/".join(part for part in (row.set_name, row.aspect) if part is not None))
            cells.append(Text("" if row.aspect is None or number is None else f"{number:,}"))
        for name in columns:
            cell = row.cells.get(name)
            value = format_value(row.meaning, cell.value) if cell else ""
            cells.append(Text(value, style="bold" if name == MODEL else ""))
            if name == MODEL and has_intervals:
                cells.append(Text(format_interval(row.meaning, cell.interval) if cell else ""))
        table.add_row(*cells)
    return table


def stored_number(value: float | None) -> float:
    """A stored value; NaN for None, as which it is stored: JSON has no NaN."""
    return math.nan if value is None else float(value)


def natural_order(name: str) -> list[tuple[int, str]]:
    """What names are sorted by, so that `changes_2` comes before `changes_10`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def screen() -> Console:
    """The terminal in its own width; a file gets lines long enough for every column."""
    console = PlainConsole()
    return console if console.is_terminal else PlainConsole(width=_FILE_WIDTH)

"""The numbers of a `metrics.json` as rows: for the terminal (`results_table`) and for the report.

Recall and mAP are stored as fractions and shown in percent, a rank is shown as it is: this file does the conversion.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table
from rich.text import Text

MODEL = "model"
BASELINES = ("sum", "image_only", "text_only")
NO_VALUE = "–"

# A metric is known by its form, so that set names and aspects can be any words; another metric has no set name.
_KEY = re.compile(
    rf"(?:(?P<set>[^/]+)/)??(?:(?P<baseline>{'|'.join(BASELINES)})/)?"
    r"(?P<metric>\w+_at_\d+|median_rank|average)(?:/(?P<aspect>.+))?"
)
_OTHER_KEY = re.compile(rf"(?P<set>)(?:(?P<baseline>{'|'.join(BASELINES)})/)?(?P<metric>[^/]+)(?:/(?P<aspect>.+))?")


@dataclass(frozen=True, slots=True)
class Cell:
    """One number with its 95 % interval (None where it has none), both as stored."""

    value: float
    interval: tuple[float, float] | None = None


@dataclass(slots=True)
class MetricRow:
    """One metric with a cell per variant (`model` and the baselines).

    `set_name` is None, or one of several evaluation sets (FashionIQ's `dress`); `aspect` is None, or the group of
    queries that the metric covers (`changes_2`).
    """

    metric: str
    set_name: str | None = None
    aspect: str | None = None
    cells: dict[str, Cell] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The metric's key as `metrics.json` has it for the model."""
        return "/".join(part for part in (self.set_name, self.metric, self.aspect) if part is not None)


def metric_rows(result: Mapping[str, Any]) -> list[MetricRow]:
    """The metrics over all queries, in stored order; then those per aspect, `changes_2` before `changes_10`.

    Keys are `[<set>/][<baseline>/]<metric>[/<aspect>]`; a key without a metric raises ValueError. A value that is None
    (JSON has no NaN) becomes NaN.
    """
    intervals = result.get("intervals") or {}
    rows: dict[tuple[str, str | None, str | None], MetricRow] = {}
    for key, value in result["metrics"].items():
        match = _KEY.fullmatch(key) or _OTHER_KEY.fullmatch(key)
        if match is None:
            raise ValueError(f"metric {key!r} is not of the form [<set>/][<baseline>/]<metric>[/<aspect>]")
        place = (match["metric"], match["set"] or None, match["aspect"])
        row = rows.setdefault(place, MetricRow(*place))
        row.cells[match["baseline"] or MODEL] = Cell(_number(value), _interval(intervals.get(key)))
    overall = [row for row in rows.values() if row.aspect is None]
    per_aspect = [row for row in rows.values() if row.aspect is not None]
    groups = list(dict.fromkeys((row.set_name, row.metric) for row in per_aspect))
    per_aspect.sort(key=lambda row: (groups.index((row.set_name, row.metric)), _natural_order(row.aspect or "")))
    return overall + per_aspect


def variants(rows: list[MetricRow]) -> list[str]:
    """The columns that the rows fill: the model, then the baselines that were evaluated."""
    return [MODEL, *(name for name in BASELINES if any(name in row.cells for row in rows))]


def is_fraction(metric: str) -> bool:
    """Whether the metric is stored as a fraction and shown in percent: all but the median ranks."""
    return not metric.startswith("median_rank")


def format_value(metric: str, value: float) -> str:
    """`62.05` for the fraction 0.6205, `3.0` for a median rank of 3, a dash for NaN."""
    if math.isnan(value):
        return NO_VALUE
    return f"{100 * value:.2f}" if is_fraction(metric) else f"{value:.1f}"


def format_interval(metric: str, interval: tuple[float, float] | None) -> str:
    """`[58.1, 66.0]` in the unit of `format_value`; empty without an interval."""
    if interval is None or any(math.isnan(bound) for bound in interval):
        return ""
    low, high = (100 * bound if is_fraction(metric) else bound for bound in interval)
    return f"[{low:.1f}, {high:.1f}]"


def aspect_label(aspect: str) -> str:
    """The aspect in words: `1 change` for `changes_1`, `direct addressing` for `direct_addressing`."""
    kind, _, number = aspect.partition("_")
    if kind == "changes" and number.isdigit():
        return f"{number} change" + ("" if number == "1" else "s")
    return aspect.replace("_", " ")


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
    """What the numbers mean, as (name, value) pairs: two results compare only when all of these are equal."""
    protocol, gallery, queries = result["protocol"], result["gallery"], result["queries"]
    facts = [
        ("protocol", protocol_line(result)),
        (
            "gallery",
            f"{protocol.get('gallery', '')} ({_fingerprint(gallery)})".strip(),
        ),
        ("reference image", "left out of the ranking" if protocol.get("exclude_reference") else "stays in the ranking"),
        ("text", str(protocol.get("text_template", ""))),
        ("several captions", str(protocol.get("caption_joining", ""))),
        ("queries", f"scored {queries['scored']:,}/{queries['expected']:,}"),
    ]
    return [(name, value) for name, value in facts if value]


def results_table(result: Mapping[str, Any]) -> Table:
    """The table that `evaluate.py` prints: a row per metric, the model with its 95 % interval, then the baselines.

    The title names experiment, data, split and protocol; the caption the gallery, its fingerprint and the coverage.
    """
    rows = metric_rows(result)
    columns = variants(rows)
    table = Table(
        title=Text(f"{title_line(result)}, protocol {protocol_line(result)}"),
        caption=Text("; ".join(f"{name}: {value}" for name, value in protocol_facts(result)[1:])),
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("metric (%)", overflow="fold", ratio=1)  # a narrow terminal folds names, never cuts digits
    for name in columns:
        table.add_column(name.replace("_", "\n"), justify="right", min_width=6)
        if name == MODEL:
            table.add_column("95 %\ninterval", justify="right", min_width=13)
    for row in rows:
        cells = [Text(row.key if is_fraction(row.metric) else f"{row.key} (rank)")]
        for name in columns:
            cell = row.cells.get(name)
            cells.append(
                Text(format_value(row.metric, cell.value) if cell else "", style="bold" if name == MODEL else "")
            )
            if name == MODEL:
                cells.append(Text(format_interval(row.metric, cell.interval) if cell else ""))
        table.add_row(*cells)
    return table


def _fingerprint(gallery: Mapping[str, Any]) -> str:
    if gallery["size"] is None:
        return "not read: the predictions name its images"
    return f"{gallery['size']:,} images, sha256 {gallery['sha256'][:12]}"


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _interval(bounds: Any) -> tuple[float, float] | None:
    return None if bounds is None else (_number(bounds[0]), _number(bounds[1]))


def _natural_order(aspect: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", aspect)]

"""What the page of a retrieval report says in numbers: metrics, what they rest on, and figures by aspect."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from diptych.report.charts import Bar
from diptych.report.rendering import Section
from diptych.results.replaced_settings import replaced_settings
from diptych.results.results_table import (
    Cell,
    MetricRow,
    aspect_group,
    aspect_label,
    format_interval,
    format_value,
    metric_rows,
    protocol_facts,
    variants,
)

_ASPECT_SECTIONS = {  # anchor, heading and what is to be known of the tables, by `aspect_group`
    "number of changes": ("changes", "Recall by number of changes"),
    "kind of change": ("kinds", "Recall by kind of change", "A query with changes of several kinds counts in each."),
    "what solves it alone": (
        "composition",
        "Does the model compose?",
        "The queries whose target the picture alone, or the text alone, has among its first results (shortcut_image and"
        " shortcut_text above), and those that neither solves. Where recall is high on the first two and low on the"
        " last, it is owed to shortcuts. Picture and text are read by the model's own encoders.",
    ),
    "aspect": ("aspects", "By aspect"),
}


def number_sections(
    result: Mapping[str, Any], aspect_counts: Mapping[str, int], curves: Mapping[str, Any]
) -> tuple[list[Section], dict[str, Any]]:
    """The sections before the queries, and what the template shows in them.

    `aspect_counts` are the numbers of queries behind each aspect's figures; without `curves` there is no section for
    them.
    """
    rows = metric_rows(result)
    overall = [row for row in rows if row.aspect is None]
    tables: dict[str, dict[str, list[MetricRow]]] = {}
    for row in rows:
        if row.aspect is not None:
            name = row.metric if row.set_name is None else f"{row.set_name}/{row.metric}"
            tables.setdefault(aspect_group(row.aspect), {}).setdefault(name, []).append(row)
    names = variants(overall)
    sections = [Section("metrics", "Metrics")]
    sections += [Section(*_ASPECT_SECTIONS[group]) for group in tables]
    if curves:
        sections.append(Section("training", "Training"))
    return sections, {
        "metrics": (("metric", *names), [(row.key, _cells(row, names)) for row in overall]) if overall else None,
        "has_baselines": len(names) > 1,
        "signatures": result.get("signatures") or (),
        "replaced": replaced_settings(result),
        "facts": [*protocol_facts(result), *_run_facts(result)],
        "aspects": {
            _ASPECT_SECTIONS[group][0]: [_aspects(name, of_name, aspect_counts) for name, of_name in by_metric.items()]
            for group, by_metric in tables.items()
        },
        "curves": curves,
    }


def _run_facts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    versions = ", ".join(f"{name} {version}" for name, version in (result.get("versions") or {}).items())
    facts = {"checkpoint": result.get("checkpoint"), "seed": result.get("seed"), "processes": result.get("world_size")}
    return [(name, str(value)) for name, value in {**facts, "versions": versions}.items() if value not in (None, "")]


def _aspects(name: str, group: Sequence[MetricRow], counts: Mapping[str, int]) -> dict[str, Any]:
    """A metric's table by aspect, and its bars in percent if it is a fraction."""
    names = variants(list(group))
    labels = [aspect_label(str(row.aspect)) for row in group]
    rows = [[f"{counts.get(str(row.aspect), 0):,}", *_cells(row, names)] for row in group]
    bars = [[_bar(variant, row.cells[variant]) for variant in names if variant in row.cells] for row in group]
    return {
        "name": name,
        "columns": (name, "queries", *names),
        "rows": list(zip(labels, rows, strict=True)),
        "bars": list(zip(labels, bars, strict=True)) if group[0].meaning.unit == "fraction" else [],
        "variants": names,
    }


def _cells(row: MetricRow, names: Sequence[str]) -> list[tuple[str, str]]:
    """Value and interval of each variant, empty where there is none."""
    found = [row.cells.get(name) for name in names]
    return [
        (format_value(row.meaning, cell.value), format_interval(row.meaning, cell.interval)) if cell else ("", "")
        for cell in found
    ]


def _bar(variant: str, cell: Cell) -> Bar:
    if math.isnan(cell.value):
        return Bar(variant, None)
    interval = cell.interval
    if interval is None or any(map(math.isnan, interval)):
        return Bar(variant, 100 * cell.value, None)
    return Bar(variant, 100 * cell.value, (100 * interval[0], 100 * interval[1]))

"""What stands behind an exported retrieval model, as the `README.md` that model hubs show: a header of fields for
programs, then the same for people. Every number is one of the evaluations that it is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from diptych.contracts.models import ImageSpec
from diptych.report.rendering import as_it_stands, write_page
from diptych.results.results_table import (
    MODEL,
    MetricRow,
    format_interval,
    format_value,
    label,
    metric_rows,
    protocol_facts,
    protocol_line,
    variants,
)

CARD = "README.md"
UNKNOWN_LICENCE = "unknown"  # the Hub's word
_TASK = "composed-image-retrieval"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a card says of a model: the sets that it was trained on, the licence of its weights where it is known, what
    is to be told of it in pairs of words, and the files of its folder.
    """

    name: str
    datasets: Sequence[str]
    licence: str | None
    facts: Sequence[tuple[str, str]]
    files: Sequence[str]


@dataclass(frozen=True, slots=True)
class OnnxFacts:
    """Of ONNX files: the pictures that they take, an example of tokens, and by file the difference from torch."""

    image: ImageSpec
    text: str
    token_ids: Sequence[int]
    differences: Mapping[str, float]


def write_model_card(
    folder: Path, facts: ModelFacts, evaluations: Sequence[Mapping[str, Any]], onnx: OnnxFacts | None = None
) -> None:
    """Writes `README.md` into a folder that is being written. `evaluations` are contents of `metrics.json` of this
    model; without any the card claims nothing.
    """
    shown = [_shown(record) for record in evaluations]
    header = yaml.safe_dump(_header(facts, evaluations), sort_keys=False, allow_unicode=True, width=120)
    write_page(
        folder / CARD,
        "model_card.md.jinja",
        header=as_it_stands(header),  # no Markdown, and what was between quotes is there as YAML has it
        model=facts,
        licence_is_known=facts.licence is not None,
        evaluations=shown,
        has_baselines=any(len(evaluation["columns"]) > 3 for evaluation in shown),
        onnx=onnx,
    )


def _header(facts: ModelFacts, evaluations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The fields that the Hub reads; `model-index` where there are numbers."""
    header: dict[str, Any] = {
        "license": facts.licence or UNKNOWN_LICENCE,
        "library_name": "diptych",
        "tags": ["diptych", _TASK, "image-retrieval", *(["onnx"] if "query.onnx" in facts.files else [])],
        "datasets": list(facts.datasets),
    }
    results = [result for record in evaluations for result in _results(record)]
    return header | ({"model-index": [{"name": facts.name, "results": results}]} if results else {})


def _results(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One entry for each evaluation set of a record, with the model's numbers over all of its queries."""
    by_set: dict[str | None, list[MetricRow]] = {}
    for row in metric_rows(record):
        if row.aspect is None and MODEL in row.cells and row.cells[MODEL].value == row.cells[MODEL].value:
            by_set.setdefault(row.set_name, []).append(row)
    names = record["data"] if isinstance(record["data"], list) else [record["data"]]
    for name, rows in by_set.items():
        dataset = name or ", ".join(names)
        yield {
            "task": {"type": _TASK, "name": "Composed image retrieval"},
            "dataset": {
                "type": dataset,
                "name": f"{dataset} {record['split']}",
                "split": record["split"],
                "args": {
                    "protocol": protocol_line(record),
                    "queries": dict(record["queries"]),
                    "gallery": dict(record["gallery"]),
                },
            },
            "metrics": [_metric(row) for row in rows],
        }


def _metric(row: MetricRow) -> dict[str, Any]:
    cell = row.cells[MODEL]
    bounds = {} if cell.interval is None else {"args": {"interval_95": list(cell.interval)}}
    return {"type": row.metric, "name": row.key, "value": cell.value, **bounds}


def _shown(record: Mapping[str, Any]) -> dict[str, Any]:
    """An evaluation as a table: a row for each metric over all queries, the model with its interval, the baselines."""
    rows = [row for row in metric_rows(record) if row.aspect is None]
    names = variants(rows)
    columns = ["metric", *(part for name in names for part in ([name, "95 % interval"] if name == MODEL else [name]))]
    table = []
    for row in rows:
        cells = [label(row.key, row.meaning)]
        for name in names:
            cell = row.cells.get(name)
            cells.append(format_value(row.meaning, cell.value) if cell else "")
            if name == MODEL:
                cells.append(format_interval(row.meaning, cell.interval) if cell else "")
        table.append(cells)
    data = record["data"] if isinstance(record["data"], str) else ", ".join(record["data"])
    return {
        "title": f"{data}, {record['split']}",
        "facts": protocol_facts(record),
        "columns": columns,
        "rows": table,
        "signatures": list(record.get("signatures") or ()),
    }

"""Scoring captions that exist, in a file, against the reference captions of a split."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from diptych.contracts.news import CaptionItem, NewsQuery
from diptych.metrics.captions.caption_metric import CaptionMetric
from diptych.metrics.captions.record_metric import CaptionScores
from diptych.parallel import checkpoints

_SHOWN_IDS = 10


def caption_items(
    predictions: Mapping[str, str], queries: Sequence[NewsQuery], image_path: Callable[[str], Path]
) -> list[CaptionItem]:
    """The captions of a file with what the split knows of their queries; `image_path` names a query's photo.

    Raises:
        ValueError: a query has no prediction, or a prediction no query; the ids are listed.
    """
    expected = {query.query_id for query in queries}
    for ids, problem in (
        (sorted(expected - predictions.keys()), "queries have no caption in the prediction file"),
        (sorted(predictions.keys() - expected), "captions belong to no query of the split"),
    ):
        if ids:
            listed = ", ".join(ids[:_SHOWN_IDS]) + (", ..." if len(ids) > _SHOWN_IDS else "")
            raise ValueError(f"{len(ids)} of {len(expected)} {problem}: {listed}")
    return [
        CaptionItem(
            query_id=query.query_id,
            caption=predictions[query.query_id],
            reference_captions=query.reference_captions,
            image_path=image_path(query.query_id),
        )
        for query in queries
    ]


def score_captions(items: Sequence[CaptionItem], metrics: Mapping[str, CaptionMetric]) -> dict[str, CaptionScores]:
    """The metrics of all items together, by the metrics' names.

    Raises:
        ValueError: an item lacks what a metric needs (a reference, evidence, a photo), or as the metrics.
    """
    scores = {}
    for name, metric in metrics.items():
        metric.reset()
        metric.distributed_available_fn = lambda: False  # these are all items, and other processes do not score
        metric.update(items)
        scores[name] = metric.compute()
    return scores


def read_captions(path: Path) -> dict[str, str]:
    """Captions by query id: one JSON object `{"query id": "caption"}`, or JSON lines with `query_id` and `caption`.

    Raises:
        ValueError: the file is absent, not of either form, or names a query twice; with the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{path}: the prediction file cannot be read: {error.strerror or error}") from error
    if path.suffix == ".jsonl":
        return _read_lines(path, text)
    try:
        captions = json.loads(text, object_pairs_hook=lambda pairs: _unique(path, pairs))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno}: not JSON: {error.msg}") from error
    if not isinstance(captions, dict) or not all(isinstance(caption, str) for caption in captions.values()):
        raise ValueError(f'{path}: expected one JSON object {{"query id": "caption", ...}}')
    return captions


def _read_lines(path: Path, text: str) -> dict[str, str]:
    pairs = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            pairs.append((record["query_id"], record["caption"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}:{number}: expected an object with query_id and caption: {error!r}") from error
        if not all(isinstance(value, str) for value in pairs[-1]):
            raise ValueError(f"{path}:{number}: query_id and caption must be texts")
    return _unique(path, pairs)


def _unique(path: Path, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{path}: query {repeated!r} occurs twice; every query has one caption")
    return found


def captions_record(scores: Mapping[str, CaptionScores], num_queries: int, **about: Any) -> dict[str, Any]:
    """The content of metrics.json; `about` gives experiment, data, split, checkpoint, seed and world_size. A value
    that does not apply, such as the precision of captions that name nothing, is null.

    Raises:
        ValueError: two metrics give values of one name.
    """
    first = next(iter(scores.values()))
    metrics: dict[str, float | None] = {}
    for name, of_metric in scores.items():
        for key, value in of_metric.corpus.items():
            if key in metrics:
                raise ValueError(f"the metric {name} gives {key}, which another one gives too; leave one of them out")
            metrics[key] = None if math.isnan(value) else value
    return {
        **about,
        "queries": {"scored": first.num_items, "expected": num_queries},
        "references_per_item": list(first.references_per_item),
        "lines": {name: of_metric.describe() for name, of_metric in scores.items()},
        "versions": checkpoints.versions(),
        "metrics": metrics,
    }


def write_caption_results(
    folder: Path, record: Mapping[str, Any], items: Sequence[CaptionItem], scores: Mapping[str, CaptionScores]
) -> None:
    """Writes metrics.json, and predictions.jsonl with every caption and its own values, sorted by query id."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(record, indent=2) + "\n")
    per_item = {name: values for of_metric in scores.values() for name, values in of_metric.per_item.items()}
    captions = {item.query_id: item.caption for item in items}
    query_ids = next(iter(scores.values())).query_ids
    with (folder / "predictions.jsonl").open("w", encoding="utf-8") as file:
        for row, query_id in enumerate(query_ids):
            values = {name: float(column[row]) for name, column in per_item.items()}
            rounded = {name: None if math.isnan(value) else round(value, 6) for name, value in values.items()}
            line = {"query_id": query_id, "caption": captions[query_id], **rounded}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def print_caption_results(record: Mapping[str, Any], folder: Path) -> None:
    """Prints the table, what it rests on, and where everything lies."""
    console = Console()
    table = Table(title=f"{record['experiment']} on {', '.join(record['data'])} {record['split']}")
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, value in record["metrics"].items():
        table.add_row(name, "n/a" if value is None else f"{value:.4f}")
    console.print(table)
    for name, line in record["lines"].items():
        console.print(f"{name}: {line}", highlight=False)
    console.print(f"  {folder / 'metrics.json'}", soft_wrap=True, highlight=False)

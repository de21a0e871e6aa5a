"""What an evaluation leaves behind: metrics.json, predictions.jsonl, scores.jsonl, the report, and the table on the
screen.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from diptych.parallel import checkpoints
from diptych.results.results_table import results_table
from diptych.systems.retrieval_evaluation import SetResult, summary


def metrics_record(results: Sequence[SetResult], **about: Any) -> dict[str, Any]:
    """The content of metrics.json; `about` gives experiment, data, split, checkpoint, seed and world_size.

    With several evaluation sets the counts are sums and the gallery's hash covers all of them.
    """
    bounds = {key: value for result in results for key, value in _named(results, result.bounds, result.name).items()}
    gallery_ids = [image_id for result in results for image_id in result.gallery_ids]
    return {
        **about,
        "protocol": {
            **asdict(results[0].protocol),
            "line": "; ".join(result.protocol.describe() for result in results),
        },
        "queries": {
            "scored": sum(len(result.ranked) for result in results),
            "expected": sum(len(result.queries) for result in results),
        },
        "gallery": {
            "size": len(gallery_ids) or None,  # a prediction file is scored without reading the gallery
            "sha256": gallery_fingerprint(gallery_ids) if gallery_ids else None,
        },
        "versions": checkpoints.versions(),
        "metrics": summary(results),
        "intervals": {key: list(value) for key, value in bounds.items()},
    }


def gallery_fingerprint(image_ids: Sequence[str]) -> str:
    """SHA-256 over the gallery's ids in order, a line each: equal for the same gallery on any machine."""
    return hashlib.sha256("".join(f"{image_id}\n" for image_id in image_ids).encode()).hexdigest()


def write_results(
    folder: Path,
    record: Mapping[str, Any],
    results: Sequence[SetResult],
) -> None:
    """Writes metrics.json, predictions.jsonl and, unless the answers are hidden, scores.jsonl into the folder.

    scores.jsonl has a line per query with its value of each metric that applies to it, `average` included: what a
    paired comparison of two runs resamples. The rank of a target that was not found is null.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(record, indent=2) + "\n")
    with (folder / "predictions.jsonl").open("w") as file:
        for result in results:
            for ranked in result.ranked:
                file.write(json.dumps(_prediction(ranked, None if len(results) == 1 else result.name)) + "\n")
    lines = [line for result in results for line in _scores(result, None if len(results) == 1 else result.name)]
    if lines:
        (folder / "scores.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def print_results(record: Mapping[str, Any], folder: Path) -> None:
    """Prints the table, and where everything lies."""
    console = Console()
    console.print(results_table(record))
    reports = sorted((folder / "report").rglob("index.html"))
    for path in [folder / "metrics.json", *reports]:
        console.print(f"  {path}", soft_wrap=True, highlight=False)


def _named(results: Sequence[SetResult], values: Mapping[str, Any], name: str) -> dict[str, Any]:
    return dict(values) if len(results) == 1 else {f"{name}/{key}": value for key, value in values.items()}


def _prediction(ranked: Any, set_name: str | None) -> dict[str, Any]:
    record = {
        "query_id": ranked.query_id,
        "ranked_ids": list(ranked.ranked_ids),
        "scores": [round(score, 6) for score in ranked.scores],
        "target_rank": ranked.target_rank,
    }
    if ranked.subset_ids:
        record["subset_ids"] = list(ranked.subset_ids)
    return record if set_name is None else {"set": set_name, **record}


def _scores(result: SetResult, set_name: str | None) -> list[dict[str, Any]]:
    """The set's lines of scores.jsonl, in the order of its queries; none where nothing was measured."""
    if not result.values:
        return []
    columns = {name: metric.values.tolist() for name, metric in result.values.items()}
    averaged = result.protocol.average_of
    lines = []
    for row, ranked in enumerate(result.ranked):
        values = {name: column[row] for name, column in columns.items() if not math.isnan(column[row])}
        if averaged and all(name in values for name in averaged):
            values["average"] = sum(values[name] for name in averaged) / len(averaged)
        own = {name: None if math.isinf(value) else value for name, value in values.items()}
        lines.append({**({} if set_name is None else {"set": set_name}), "query_id": ranked.query_id, **own})
    return lines

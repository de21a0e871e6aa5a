"""What a run scored for each of its queries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from diptych.config.override_words import in_shell, override
from diptych.results.record import SCORES
from diptych.storage.json_files import each_json_line
from diptych.storage.json_shapes import fault_of
from diptych.sweeping.run_records import RunRecord

ROUNDED = 2e-6  # captions' values per query are written with six decimals

Query = tuple[str | None, str]  # the set, where there are several, and the id
Scores = dict[Query, dict[str, float | None]]


def read_scores(run: RunRecord) -> Scores:
    """Values by metric, of every query by (set, id), of a run that was evaluated.

    Raises:
        ValueError: there are none, or they are damaged; names the file and line, and the command that makes them.
    """
    path, result = run.folder / SCORES, run.result or {}
    words = override("ckpt", result.get("checkpoint")), override("split", result.get("split"))
    advice = (
        "values per query come from evaluating: score the run again and compare the new folder: "
        f"{in_shell('python', 'evaluate.py', *words)}"
    )
    scores: Scores = {}
    for where, record in each_json_line(path, advice):
        if (fault := fault_of(record, {"query_id": str, "set?": str}, "the line")) is not None:
            raise ValueError(f"{where}: {fault}; {advice}")
        place = record.pop("set", None), record.pop("query_id")
        if (fault := fault_of(record, {str: (float, None)}, f"query {place[1]!r}")) is not None:
            raise ValueError(f"{where}: {fault}; {advice}")
        values = {name: None if value is None else float(value) for name, value in record.items()}
        if place in scores:
            raise ValueError(f"{where}: query {place[1]!r} occurs twice")
        scores[place] = values
    return scores


def value_of_null(result: Mapping[str, Any]) -> float:
    """What null stands for among a query's values: of retrieval, where a query without a value is not in its line, the
    rank of what was not found; of captions no value.
    """
    return math.inf if "protocol" in result else math.nan


def values_of(key: str, scores: Scores, queries: Sequence[Query], null: float) -> Tensor:
    """Values (Q,) float64; NaN where the metric does not apply, `null` for null."""
    values = [scores[query].get(key, math.nan) for query in queries]
    return torch.tensor([null if value is None else value for value in values], dtype=torch.float64)

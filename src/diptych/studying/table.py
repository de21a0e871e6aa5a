"""The figures of a study, metric by metric and arm by arm: `study.csv`, and what its plot and its page are made of."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch

from diptych.contracts.retrieval import MetricMeaning
from diptych.metrics.retrieval.bootstrap import percentiles, resampled_counts, weighted_median
from diptych.storage.spreadsheet_cells import harmless_cell
from diptych.storage.whole import whole_file
from diptych.studying.hypotheses import Comparison, Hypothesis, Verdict
from diptych.studying.result import StudyResult

FILE = "study.csv"
OfSeeds = Mapping[int, Mapping[str, float | None]]  # seed -> query -> value
_NUM_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Row:
    """An arm by a metric. `mean` is over seeds, of each seed's mean (of ranks: median) over queries, with its 95 %
    interval over queries; `seed_means` are those of each seed, none of an arm that `failed`, nor where the metric was
    not measured. `num_queries` is 0 without values per query. `comparison` is that with `control`, None of the control
    itself; `verdicts` rest on it. `moved` are the shares of queries, over all seeds, whose value is above and below the
    control's.
    """

    arm: str
    metric: str
    control: str
    mean: float
    interval: tuple[float, float] | None
    seed_means: Mapping[int, float]
    num_queries: int
    comparison: Comparison | None
    verdicts: tuple[Verdict, ...]
    moved: tuple[float, float] | None = None
    failed: bool = False

    @property
    def measured(self) -> bool:
        """Whether there are values."""
        return bool(self.seed_means)

    @property
    def state(self) -> str:
        """What became of it, in a word or two."""
        return "done" if self.measured else "failed" if self.failed else "not measured"


def study_rows(result: StudyResult) -> list[Row]:
    """A row for every metric and arm, the control first, else in the plan's order, but for arms of which other metrics
    were measured; then those that hypotheses add: by other metrics, or against another arm.
    """
    study = result.study
    arms = [study.control, *(arm.name for arm in study.arms if arm.name != study.control)]
    asked = [_place(verdict.hypothesis) for verdict in result.verdicts]
    metrics = dict.fromkeys([*study.metrics, *(metric for metric, _, _ in asked)])
    comparisons = {_place(one): one for one in result.comparisons}
    comparisons |= {_place(one.comparison): one.comparison for one in result.verdicts if one.comparison is not None}
    rows = []
    for place in dict.fromkeys([*((metric, arm, study.control) for metric in metrics for arm in arms), *asked]):
        metric, arm, control = place
        failed = arm not in result.values
        elsewhere = any(metric in measured for measured in result.values.values())
        if elsewhere and not (failed or metric in result.values[arm] or place in asked):
            continue
        values, meaning = result.values.get(arm, {}).get(metric, {}), result.meanings.get(metric, MetricMeaning())
        queries = dict.fromkeys(query for of_seed in values.values() for query in of_seed)
        rows.append(
            Row(
                arm,
                metric,
                control,
                *mean_and_interval(values, meaning),
                {seed: _summed_up(of_seed, meaning) for seed, of_seed in values.items()},
                len(queries) if list(queries) != [""] else 0,
                comparisons.get(place),
                tuple(one for one, own in zip(result.verdicts, asked, strict=True) if own == place),
                _moved(values, result.values.get(control, {}).get(metric, {})) if comparisons.get(place) else None,
                failed,
            )
        )
    return rows


def write_csv(path: Path, rows: Sequence[Row], seeds: Sequence[int]) -> None:
    """A line for each row with all its figures, as stored (recall as a fraction) and in full; an empty field is none.
    Times and folders are not among them: the same results give the same bytes.
    """
    lines = [_line(row, seeds) for row in rows]
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows({name: harmless_cell(value) for name, value in line.items()} for line in lines)


def mean_and_interval(of_seeds: OfSeeds, meaning: MetricMeaning) -> tuple[float, tuple[float, float] | None]:
    """The mean over seeds of each seed's mean (or median) over queries, and its 95 % percentile interval over queries,
    the same draws for each seed. Seeds are not drawn: two or three say too little, and are shown one by one. NaN and
    None without values; no interval without values per query.
    """
    queries = list(dict.fromkeys(query for of_seed in of_seeds.values() for query in of_seed))
    if not queries:
        return math.nan, None
    mean = fmean(_summed_up(of_seed, meaning) for of_seed in of_seeds.values())
    if len(queries) < 2:
        return mean, None
    counts = torch.cat(list(resampled_counts(len(queries), _NUM_RESAMPLES, 0)))
    drawn = []
    for of_seed in of_seeds.values():
        column = torch.tensor([_number(of_seed.get(query), meaning) for query in queries], dtype=torch.float64)
        known = ~column.isnan()
        if meaning.reduction == "median":
            drawn.append(weighted_median(column, counts))
        else:
            # Not a product of matrices: its last digits depend on the number of threads.
            sums, numbers = (part.numpy().sum(1) for part in (counts[:, known] * column[known], counts[:, known]))
            drawn.append(torch.from_numpy(sums) / torch.from_numpy(numbers))
    means = torch.stack(drawn).mean(0)
    means = means[~means.isnan()]  # without the draws that have no query of an aspect
    return mean, percentiles(means, 0.95) if len(means) else None


def least_of(verdict: Verdict) -> float:
    """The least effect that would matter, in the metric's own unit; NaN of a relative one without a comparison."""
    hypothesis = verdict.hypothesis
    if not hypothesis.relative:
        return hypothesis.least
    return hypothesis.least * abs(verdict.comparison.control_mean) if verdict.comparison else math.nan


def _moved(own: OfSeeds, other: OfSeeds) -> tuple[float, float] | None:
    pairs = [
        (value, against)
        for seed, of_seed in own.items()
        for query, value in of_seed.items()
        if query and value is not None and (against := other[seed].get(query)) is not None
    ]
    if not pairs:
        return None
    return fmean(value > against for value, against in pairs), fmean(value < against for value, against in pairs)


def _summed_up(of_seed: Mapping[str, float | None], meaning: MetricMeaning) -> float:
    numbers = [_number(value, meaning) for value in of_seed.values()]
    known = [number for number in numbers if not math.isnan(number)]
    return (median if meaning.reduction == "median" else fmean)(known) if known else math.nan


def _number(value: float | None, meaning: MetricMeaning) -> float:
    """Null is the rank of what was not found, else a query to which the metric does not apply."""
    return value if value is not None else math.inf if meaning.reduction == "median" else math.nan


def _line(row: Row, seeds: Sequence[int]) -> dict[str, Any]:
    found, verdicts = row.comparison, row.verdicts
    line: dict[str, Any] = {"metric": row.metric, "arm": row.arm, "state": row.state}
    line |= {"seeds": len(row.seed_means), "queries": row.num_queries}
    line |= {"mean": row.mean} | _bounds("mean", row.interval) | {"control": row.control}
    for name in ("control_mean", "difference", "p_value", "adjusted_p", "smallest_seen", "level"):
        line[name.replace("_", " ")] = getattr(found, name) if found else None
        if name == "difference":
            line |= _bounds(name, found.interval if found else None)
    line["raised"], line["lowered"] = row.moved or (None, None)
    line["hypothesis"] = "; ".join(verdict.hypothesis.direction for verdict in verdicts)
    line["least"] = "; ".join(repr(least_of(verdict)) for verdict in verdicts)
    line["verdict"] = "; ".join(verdict.word for verdict in verdicts)
    line |= {f"seed {seed}": row.seed_means.get(seed) for seed in seeds}
    return {name: "" if value is None or value != value else value for name, value in line.items()}


def _bounds(name: str, interval: tuple[float, float] | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {f"{name} low": low, f"{name} high": high}


def _place(of: Comparison | Hypothesis) -> tuple[str, str, str]:
    return of.metric, of.arm, of.control

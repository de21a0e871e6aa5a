"""Are two runs different, or did they have luck with their queries? A paired bootstrap over the queries of both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text
from torch import Tensor

from diptych.contracts.retrieval import MetricMeaning
from diptych.metrics.retrieval.bootstrap import percentiles, resampled_counts, weighted_median
from diptych.metrics.retrieval.median_rank import median_rank
from diptych.results.results_table import format_value
from diptych.storage.json_files import each_json_line
from diptych.sweeping.run_records import RESULT, RunRecord, find_runs
from diptych.sweeping.table import heading, legend, screen

SCORES = "scores.jsonl"
_ROUNDED = 2e-6  # captions' values per query are written with six decimals
_NAMED = 6  # metrics named as left out, for each reason
_ZERO = 1e-7  # a draw's difference that is 0 in exact numbers is this small in rounded ones, and counts as 0


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of both runs over the same `num_queries` queries: values, second minus first, its 95 % interval, and
    the two-sided p-value. All as stored (recall as a fraction).
    """

    metric: str
    first: float
    second: float
    interval: tuple[float, float]
    p_value: float
    num_queries: int

    @property
    def difference(self) -> float:
        """Second minus first."""
        return self.second - self.first


def compare_runs(
    first: Path, second: Path, num_resamples: int = 10_000
) -> tuple[list[Difference], dict[str, str], tuple[RunRecord, RunRecord]]:
    """The differences of all metrics that are means or medians over queries; why the others were left out, by metric;
    and the two runs. The queries are those of both runs' scores.jsonl.

    A metric is compared when both runs' metrics.json has exactly the mean (of ranks: the median) of the values per
    query: corpus BLEU is not. A mean over several sets (FashionIQ's dress, shirt, toptee) is resampled within each.

    Raises:
        ValueError: a folder holds no evaluated run, its values per query are missing or damaged, or the two differ in
            protocol, gallery, split, data or queries; names the difference.
    """
    runs = _evaluated(first), _evaluated(second)
    _check_same_measure(*runs)
    scores = _read_scores(runs[0]), _read_scores(runs[1])
    _check_same_queries(first, second, *scores)
    set_names = list(dict.fromkeys(set_name for set_name, _ in scores[0]))
    queries = {name: [query for query in scores[0] if query[0] == name] for name in set_names}
    metrics, left_out = [], {}
    names = dict.fromkeys(name for run in runs for name, value in _result(run)["metrics"].items() if value is not None)
    for name in names:
        try:
            metrics.append(_paired_metric(name, runs, scores, queries))
        except _NotComparable as reason:
            left_out[name] = str(reason)
    if not metrics:
        raise ValueError(f"{first} and {second} share no metric that is a mean over queries: {left_out or 'none'}")
    return _differences(metrics, set_names, num_resamples), left_out, runs


def paired_bootstrap(
    sets: Sequence[tuple[Tensor, Tensor]], median: bool = False, num_resamples: int = 10_000
) -> tuple[tuple[float, float], float]:
    """The 95 % percentile interval of `second - first`, and a two-sided p-value of no difference.

    Each set is a pair of values per query (Q,), of both runs in the same order, NaN where the metric does not apply.
    Queries are drawn with replacement within each set, the same draws for both runs (so that a query that is hard for
    both says nothing), and the means (or medians) of the sets averaged. The p-value is the level at which the
    percentile interval stops containing 0: twice the smaller share of draws on either side of it, draws at 0 on both,
    with one draw added to each side so that it is never 0. Equal arguments give equal results.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13 (the interval) and section 15.4
    (tests from intervals); the added draw: Davison and Hinkley, Bootstrap Methods and their Application (1997), 4.2.

    Raises:
        ValueError: a set is empty or its two sides are of different length.
    """
    if not sets or any(len(first) != len(second) or not len(first) for first, second in sets):
        raise ValueError("paired values are needed: as many of one run as of the other, and at least one")
    of_sets = dict(enumerate(sets))
    (row,) = _differences([_PairedMetric("", median, of_sets, math.nan, math.nan)], list(of_sets), num_resamples)
    return row.interval, row.p_value


def print_comparison(
    differences: Sequence[Difference], left_out: Mapping[str, str], runs: tuple[RunRecord, RunRecord]
) -> None:
    """Prints a row per metric, with the run that is better where the interval leaves out 0, and what was left out and
    why.
    """
    console = screen()
    names = [str(run.folder) for run in runs]
    for number, name in enumerate(names, start=1):
        console.print(Text(f"run {number}: {name}"), soft_wrap=True)
    table = Table(
        title=Text("run 2 - run 1, paired bootstrap over the queries"),
        title_justify="left",
        box=SIMPLE,
        padding=(0, 1, 0, 0),
    )
    table.add_column("metric", overflow="fold", min_width=20)
    for name in ("run 1", "run 2", "difference", "95 % interval", "p", "queries", "better"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in differences:
        meaning, (low, high) = runs[0].meaning(row.metric), row.interval
        table.add_row(
            Text(heading(row.metric, meaning, "", {})),
            format_value(meaning, row.first),
            format_value(meaning, row.second),
            Text(_signed(meaning, row.difference), style="bold" if low > 0 or high < 0 else ""),
            Text(f"[{_signed(meaning, low)}, {_signed(meaning, high)}]"),
            f"{row.p_value:.4f}",
            f"{row.num_queries:,}",
            {None: "", 0: "run 1", 1: "run 2"}[better_run(row, meaning)],
        )
    console.print(table)
    for line in legend(runs, {run.name: "A" for run in runs}):
        console.print(Text(line), soft_wrap=True)
    by_reason: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        by_reason.setdefault(reason, []).append(name)
    for reason, metrics in by_reason.items():
        more = f" and {len(metrics) - _NAMED} others" if len(metrics) > _NAMED else ""
        console.print(Text(f"not compared, {reason}: {', '.join(metrics[:_NAMED])}{more}"), soft_wrap=True)
    console.print(Text("p-values are of one metric each: of twenty, one is below 0.05 by chance"), soft_wrap=True)


def better_run(difference: Difference, meaning: MetricMeaning) -> int | None:
    """0 or 1, which of the runs is better; None where the interval holds 0, or the metric is better neither way."""
    low, high = difference.interval
    if meaning.better is None or low <= 0 <= high:
        return None
    return int((low > 0) == (meaning.better == "higher"))


class _NotComparable(Exception):
    """Why a metric is left out."""


def _signed(meaning: MetricMeaning, value: float) -> str:
    return ("+" if value >= 0 else "") + format_value(meaning, value)


def _evaluated(folder: Path) -> RunRecord:
    record = next((record for record in find_runs(folder) if record.folder == folder), None)
    if record is None:
        raise ValueError(f"{folder} is no run itself; name the folder of one, such as {folder / '0'}")
    if record.problem:
        raise ValueError(record.problem)
    if record.result is None:
        raise ValueError(f"{folder}: no {RESULT} yet, the run is: {record.state}")
    return record


def _result(run: RunRecord) -> dict[str, Any]:
    """The content of the metrics.json of a run that `_evaluated` let through."""
    assert run.result is not None
    return run.result


def _check_same_measure(first: RunRecord, second: RunRecord) -> None:
    names = dict.fromkeys([*first.facts, *second.facts])
    unlike = [name for name in names if first.facts.get(name) != second.facts.get(name)]
    if unlike:
        told = "; ".join(f"{name}: {first.facts.get(name)!r} and {second.facts.get(name)!r}" for name in unlike)
        raise ValueError(f"{first.folder} and {second.folder} were not measured alike and do not compare: {told}")


_Scores = dict[tuple[str | None, str], dict[str, float | None]]


def _read_scores(run: RunRecord) -> _Scores:
    """Values by metric, of every query by (set, id)."""
    path = run.folder / SCORES
    advice = (
        "values per query come from evaluating: score the run again and compare the new folder: "
        f"python evaluate.py ckpt={_result(run).get('checkpoint')} split={_result(run)['split']}"
    )
    scores: _Scores = {}
    for where, record in each_json_line(path, advice):
        try:
            place = record.pop("set", None), record.pop("query_id")
            values = {name: None if value is None else float(value) for name, value in record.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{where}: expected an object of query_id and values: {error!r}") from error
        if place in scores:
            raise ValueError(f"{where}: query {place[1]!r} occurs twice")
        scores[place] = values
    return scores


def _check_same_queries(first: Path, second: Path, of_first: _Scores, of_second: _Scores) -> None:
    for here, there, missing in (
        (first, second, of_first.keys() - of_second.keys()),
        (second, first, of_second.keys() - of_first.keys()),
    ):
        if missing:
            ids = ", ".join(sorted(repr(query_id) for _, query_id in missing)[:3])
            raise ValueError(
                f"{len(missing)} queries of {here} were not scored in {there}: {ids}{', ...' * (len(missing) > 3)}"
            )


@dataclass(frozen=True, slots=True)
class _PairedMetric:
    """A metric of both runs: values per query by set, and what they come to."""

    name: str
    median: bool
    sets: Mapping[Any, tuple[Tensor, Tensor]]
    first: float
    second: float


def _paired_metric(
    name: str,
    runs: tuple[RunRecord, RunRecord],
    scores: tuple[_Scores, _Scores],
    queries: Mapping[str | None, Sequence[tuple[str | None, str]]],
) -> _PairedMetric:
    own_set = next((set_name for set_name in queries if set_name and name.startswith(f"{set_name}/")), None)
    key = name.removeprefix(f"{own_set}/") if own_set else name
    median = runs[0].meaning(name).reduction == "median"
    # A query without a value of a metric is not in a retrieval's line; null stands for the rank of what was not found.
    null = math.inf if "protocol" in _result(runs[0]) else math.nan
    sets = {}
    for set_name in [own_set] if own_set else queries:
        first, second = (_values(key, of_run, queries[set_name], null) for of_run in scores)
        if not torch.equal(first.isnan(), second.isnan()):
            raise _NotComparable("the two runs have values for different queries")
        if first.isnan().all():
            raise _NotComparable("no values per query")
        sets[set_name] = first, second
    if any(values.isinf().any() for pair in sets.values() for values in pair):
        raise _NotComparable("targets that were not found have no rank")
    values = []
    for side, run in enumerate(runs):
        reduced = [median_rank(pair[side]) if median else float(pair[side].nanmean()) for pair in sets.values()]
        values.append(sum(reduced) / len(reduced))
        stored = _result(run)["metrics"].get(name)
        if stored is None or not math.isclose(stored, values[-1], rel_tol=1e-6, abs_tol=_ROUNDED):
            raise _NotComparable("not a mean over the queries")
    return _PairedMetric(name, median, sets, *values)


def _differences(metrics: Sequence[_PairedMetric], set_names: Sequence[Any], num_resamples: int) -> list[Difference]:
    """See `paired_bootstrap`; every metric sees the same draws."""
    drawn = [dict[Any, Tensor]() for _ in metrics]
    for seed, set_name in enumerate(set_names):
        having = [(found, metric) for found, metric in zip(drawn, metrics, strict=True) if set_name in metric.sets]
        if having:
            size = len(having[0][1].sets[set_name][0])
            chunks: list[list[Tensor]] = [[] for _ in having]
            for counts in resampled_counts(size, num_resamples, seed):
                for chunk, (_, metric) in zip(chunks, having, strict=True):
                    chunk.append(_difference(*metric.sets[set_name], counts, metric.median))
            for chunk, (found, _) in zip(chunks, having, strict=True):
                found[set_name] = torch.cat(chunk)
    rows = []
    for metric, found in zip(metrics, drawn, strict=True):
        total = torch.stack(list(found.values())).mean(0)
        total = total[~total.isnan()]  # without the draws that have no query of an aspect
        total[total.abs() < _ZERO] = 0.0
        below, above = int((total <= 0).sum()), int((total >= 0).sum())
        p_value = min(1.0, 2 * (min(below, above) + 1) / (len(total) + 1))
        num_queries = sum(int((~first.isnan()).sum()) for first, _ in metric.sets.values())
        rows.append(
            Difference(metric.name, metric.first, metric.second, percentiles(total, 0.95), p_value, num_queries)
        )
    return rows


def _difference(first: Tensor, second: Tensor, counts: Tensor, median: bool) -> Tensor:
    """Second minus first (R,), each query counted `counts` (R, Q) times."""
    first, second = first.double(), second.double()
    if median:
        return weighted_median(second, counts) - weighted_median(first, counts)
    difference = second - first
    return counts @ difference.nan_to_num(0.0) / (counts @ (~difference.isnan()).double())


def _values(key: str, scores: _Scores, queries: Sequence[tuple[str | None, str]], null: float) -> Tensor:
    """Values (Q,) float64; NaN where the metric does not apply, `null` for null."""
    values = [scores[query].get(key, math.nan) for query in queries]
    return torch.tensor([null if value is None else value for value in values], dtype=torch.float64)

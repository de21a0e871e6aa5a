"""Are two runs different, or did they have luck with their queries? What both scored for each, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from diptych.contracts.retrieval import MetricMeaning
from diptych.metrics.retrieval.median_rank import median_rank
from diptych.results.results_table import format_difference, format_value, screen
from diptych.sweeping.paired_differences import Difference, PairedMetric, paired_differences
from diptych.sweeping.run_records import RESULT, RunRecord, find_runs
from diptych.sweeping.scores import ROUNDED, Scores, read_scores, value_of_null, values_of
from diptych.sweeping.table import heading, legend

_NAMED = 6  # metrics named as left out, for each reason
_LEVEL = 0.05  # of the p-value, below which a run is called better


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
    scores = read_scores(runs[0]), read_scores(runs[1])
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
    return paired_differences(metrics, set_names, num_resamples), left_out, runs


def print_comparison(
    differences: Sequence[Difference], left_out: Mapping[str, str], runs: tuple[RunRecord, RunRecord]
) -> None:
    """Prints a row per metric, with the run that is better (`better_run`), and what was left out and why."""
    console = screen()
    names = [str(run.folder) for run in runs]
    for number, name in enumerate(names, start=1):
        console.print(Text(f"run {number}: {name}"), soft_wrap=True)
    table = Table(
        title=Text("run 2 - run 1 on the same queries: bootstrap interval, p of paired randomisation"),
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
            Text(format_difference(meaning, row.difference), style="bold" if low > 0 or high < 0 else ""),
            Text(f"[{format_difference(meaning, low)}, {format_difference(meaning, high)}]"),
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
    """0 or 1, which of the runs is better; None where the interval holds 0 or the p-value is not below 0.05 (of few
    queries the interval alone proves nothing), or the metric is better neither way.
    """
    low, high = difference.interval
    if meaning.better is None or low <= 0 <= high or difference.p_value >= _LEVEL:
        return None
    return int((low > 0) == (meaning.better == "higher"))


class _NotComparable(Exception):
    """Why a metric is left out."""


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


def _check_same_queries(first: Path, second: Path, of_first: Scores, of_second: Scores) -> None:
    for here, there, missing in (
        (first, second, of_first.keys() - of_second.keys()),
        (second, first, of_second.keys() - of_first.keys()),
    ):
        if missing:
            ids = ", ".join(sorted(repr(query_id) for _, query_id in missing)[:3])
            raise ValueError(
                f"{len(missing)} queries of {here} were not scored in {there}: {ids}{', ...' * (len(missing) > 3)}"
            )


def _paired_metric(
    name: str,
    runs: tuple[RunRecord, RunRecord],
    scores: tuple[Scores, Scores],
    queries: Mapping[str | None, Sequence[tuple[str | None, str]]],
) -> PairedMetric:
    own_set = next((set_name for set_name in queries if set_name and name.startswith(f"{set_name}/")), None)
    key = name.removeprefix(f"{own_set}/") if own_set else name
    median = runs[0].meaning(name).reduction == "median"
    null = value_of_null(_result(runs[0]))
    sets = {}
    for set_name in [own_set] if own_set else queries:
        first, second = (values_of(key, of_run, queries[set_name], null) for of_run in scores)
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
        if stored is None or not math.isclose(stored, values[-1], rel_tol=1e-6, abs_tol=ROUNDED):
            raise _NotComparable("not a mean over the queries")
    return PairedMetric(name, median, sets, *values)

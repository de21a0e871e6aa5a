"""The comparisons of a study's table and the verdicts on its hypotheses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diptych.contracts.retrieval import MetricMeaning
from diptych.results.meanings import Meanings
from diptych.studying.holm import holm
from diptych.studying.hypotheses import ALPHA, Comparison, Hypothesis, Verdict
from diptych.studying.two_level import Panel, Spread
from diptych.studying.wording import verdict_on

Values = Mapping[str, Mapping[str, Mapping[int, Mapping[str, float | None]]]]  # by arm, metric, seed and query's key
_WITHOUT_QUERIES = ("",)


def judge(
    values: Values,
    control: str,
    metrics: Sequence[str],
    hypotheses: Sequence[Hypothesis],
    meanings: Mapping[str, MetricMeaning] | None = None,
) -> tuple[list[Comparison], list[Verdict]]:
    """The comparisons of every other arm with `control` in `metrics`, then what else the hypotheses compare; and a
    verdict on each hypothesis, in their order.

    A metric without values per query has one for each seed, under "". An arm that failed is absent from `values`. What
    cannot be compared has no comparison, and its hypotheses are undecided with the reason: arms that ran with other
    seeds or have values for other queries, targets that were not found and have no rank. A query where a metric does
    not apply (no value or NaN, in both arms and all seeds) counts for nothing.

    p-values are adjusted over all comparisons returned (`holm`), and each interval is of the level at which its
    comparison was tested. `meanings` says how metrics of one's own are to be read; Diptych's are known by name. Equal
    arguments give equal results.
    """
    known = Meanings({"metrics": dict.fromkeys(name for of_arm in values.values() for name in of_arm)})
    asked_of = dict.fromkeys([*metrics, *(hypothesis.metric for hypothesis in hypotheses)])
    about = {metric: (meanings or {}).get(metric) or known.of(metric) for metric in asked_of}
    pairs = [(metric, arm, control) for metric in metrics for arm in values if arm != control]
    asked = [(hypothesis.metric, hypothesis.arm, hypothesis.control) for hypothesis in hypotheses]
    measured: dict[_Pair, _Measured] = {}
    reasons: dict[_Pair, str] = {}
    arms: dict[str, _Arms] = {}
    for pair in dict.fromkeys([*pairs, *asked]):
        metric, arm, against = pair
        if metric not in arms:
            arms[metric] = _Arms(values, metric, median=about[metric].reduction == "median")
        try:
            measured[pair] = arms[metric].measure(arm, against)
        except _NotComparable as reason:
            reasons[pair] = str(reason)
    compared = _compared(measured)
    verdicts = [
        verdict_on(hypothesis, compared.get(pair), reasons.get(pair, ""), about[pair[0]])
        for hypothesis, pair in zip(hypotheses, asked, strict=True)
    ]
    return list(compared.values()), verdicts


_Pair = tuple[str, str, str]  # metric, arm, control


class _NotComparable(Exception):
    """Why there is no comparison."""


@dataclass(frozen=True, slots=True)
class _Measured:
    """The means of arm and control, and what their difference varies by; None where nothing was varied."""

    arm_mean: float
    control_mean: float
    difference: float
    spread: Spread | None
    num_seeds: int
    num_queries: int


@dataclass(frozen=True, slots=True)
class _Table:
    """One arm's values (S, Q), with the queries that have one."""

    seeds: tuple[int, ...]
    queries: tuple[str, ...]
    values: np.ndarray


class _Arms:
    """The arms that have one metric, each with its values, and with why it has none that can be compared."""

    def __init__(self, values: Values, metric: str, *, median: bool) -> None:
        self._values, self._metric, self._median = values, metric, median
        self._tables: dict[str, _Table] = {}
        self._reasons: dict[str, str] = {}
        self._panels: dict[tuple[tuple[int, ...], tuple[str, ...]], tuple[list[str], Panel]] = {}
        for arm in values:
            try:
                self._tables[arm] = _table(values[arm].get(metric), f"{arm} has", metric, median)
            except _NotComparable as reason:
                self._reasons[arm] = str(reason)

    def measure(self, arm: str, control: str) -> _Measured:
        first, second = self._table_of(control), self._table_of(arm)
        if first.seeds != second.seeds:
            theirs, own = (", ".join(map(str, table.seeds)) for table in (second, first))
            raise _NotComparable(f"seeds differ: {arm} with {theirs} and {control} with {own}")
        if first.queries != second.queries:
            raise _NotComparable(f"{arm} and {control} have values for different queries")
        names, panel = self._panel(first)
        places = names.index(arm), names.index(control)
        spread = panel.spread(*places)
        arm_mean, control_mean = (float(panel.per_seed[place].mean()) for place in places)
        num_queries = 0 if first.queries == _WITHOUT_QUERIES else len(first.queries)
        varied = num_queries > 0 or spread.seeds > 0
        difference = panel.difference(*places)
        return _Measured(arm_mean, control_mean, difference, spread if varied else None, len(first.seeds), num_queries)

    def _table_of(self, arm: str) -> _Table:
        if arm not in self._values:
            raise _NotComparable(f"{arm} failed and has no results")
        if arm in self._reasons:
            raise _NotComparable(self._reasons[arm])
        return self._tables[arm]

    def _panel(self, like: _Table) -> tuple[list[str], Panel]:
        """All arms with these seeds and queries: each helps to say how much a seed matters."""
        key = like.seeds, like.queries
        if key not in self._panels:
            alike = {arm: table.values for arm, table in self._tables.items() if (table.seeds, table.queries) == key}
            stacked = np.stack([*alike.values()])
            panel = Panel(stacked, median=self._median, queries=like.queries != _WITHOUT_QUERIES)
            self._panels[key] = [*alike], panel
        return self._panels[key]


def _table(by_seed: Mapping[int, Mapping[str, float | None]] | None, has: str, metric: str, median: bool) -> _Table:
    if not by_seed:
        raise _NotComparable(f"{has} no {metric}")
    null = math.inf if median else math.nan  # the rank of what was not found; a caption to which it does not apply
    rows = {
        seed: {query: null if value is None else float(value) for query, value in sorted(by_seed[seed].items())}
        for seed in sorted(by_seed)
    }
    having = {tuple(query for query, value in row.items() if not math.isnan(value)) for row in rows.values()}
    if len(having) > 1:
        raise _NotComparable(f"{has} values of {metric} for different queries in different seeds")
    (queries,) = having
    if not queries:
        raise _NotComparable(f"{has} no value of {metric}")
    if len(queries) == 1 and queries != _WITHOUT_QUERIES:
        raise _NotComparable(f"{has} values of {metric} for one query alone")
    values = np.array([[row[query] for query in queries] for row in rows.values()])
    if np.isinf(values).any():
        raise _NotComparable(f"{has} targets that were not found and have no rank")
    return _Table(tuple(rows), queries, values)


def _compared(measured: Mapping[_Pair, _Measured]) -> dict[_Pair, Comparison]:
    """The comparison of each pair, with p-values adjusted over all of them."""
    p_values = {pair: of.spread.p_value(of.difference) for pair, of in measured.items() if of.spread is not None}
    adjusted, levels = (dict(zip(p_values, numbers, strict=True)) for numbers in holm([*p_values.values()], ALPHA))
    return {
        pair: Comparison(
            *pair,
            of.arm_mean,
            of.control_mean,
            of.difference,
            interval=of.spread.interval(of.difference, levels[pair]) if of.spread else None,
            p_value=p_values.get(pair),
            adjusted_p=adjusted.get(pair),
            smallest_seen=of.spread.smallest_seen(ALPHA) if of.spread else None,
            num_seeds=of.num_seeds,
            num_queries=of.num_queries,
            level=1 - levels[pair] if of.spread else None,
        )
        for pair, of in measured.items()
    }

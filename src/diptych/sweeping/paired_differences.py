"""Differences between two runs on the same queries: percentile intervals, and p-values that hold for few queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diptych.metrics.randomisation import randomisation_p_values
from diptych.metrics.retrieval.bootstrap import percentiles, resampled_counts, weighted_median

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


@dataclass(frozen=True, slots=True)
class PairedMetric:
    """A metric of both runs: values per query by set, and what they come to."""

    name: str
    median: bool
    sets: Mapping[Any, tuple[Tensor, Tensor]]
    first: float
    second: float


def paired_differences(
    metrics: Sequence[PairedMetric], set_names: Sequence[Any], num_resamples: int
) -> list[Difference]:
    """Of each metric over its sets, which are some of `set_names`, the 95 % percentile interval of `second - first` and
    a two-sided p-value of no difference; every metric sees the same draws and the same swaps.

    A set holds pairs of values per query (Q,), of both runs in the same order, NaN where the metric does not apply. For
    the interval, queries are drawn with replacement within each set, the same draws for both runs (so that a query that
    is hard for both says nothing), and the means (or medians) of the sets averaged. The p-value is that of
    `randomisation_p_values`, which swaps the two runs' values of a query: that of a bootstrap is far too small for few
    queries, however small their number. Equal arguments give equal results.

    Source of the interval: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.

    Raises:
        ValueError: a set is empty or its two sides are of different length.
    """
    pairs = [pair for metric in metrics for pair in metric.sets.values()]
    if not pairs or any(len(first) != len(second) or not len(first) for first, second in pairs):
        raise ValueError("paired values are needed: as many of one run as of the other, and at least one")
    drawn = [dict[Any, Tensor]() for _ in metrics]
    for seed, set_name in enumerate(set_names):
        having = [(found, metric) for found, metric in zip(drawn, metrics, strict=True) if set_name in metric.sets]
        if having:
            size = len(having[0][1].sets[set_name][0])
            chunks: list[list[Tensor]] = [[] for _ in having]
            for counts in resampled_counts(size, num_resamples, seed):
                for chunk, (_, metric) in zip(chunks, having, strict=True):
                    chunk.append(_drawn_difference(*metric.sets[set_name], counts, metric.median))
            for chunk, (found, _) in zip(chunks, having, strict=True):
                found[set_name] = torch.cat(chunk)
    rows = []
    for metric, found, p_value in zip(metrics, drawn, _p_values(metrics, set_names), strict=True):
        total = torch.stack(list(found.values())).mean(0)
        total = total[~total.isnan()]  # without the draws that have no query of an aspect
        total[total.abs() < _ZERO] = 0.0
        num_queries = sum(int((~first.isnan()).sum()) for first, _ in metric.sets.values())
        interval = percentiles(total, 0.95)
        rows.append(Difference(metric.name, metric.first, metric.second, interval, float(p_value), num_queries))
    return rows


def _drawn_difference(first: Tensor, second: Tensor, counts: Tensor, median: bool) -> Tensor:
    """Second minus first (R,), each query counted `counts` (R, Q) times."""
    first, second = first.double(), second.double()
    if median:
        return weighted_median(second, counts) - weighted_median(first, counts)
    difference = second - first
    return counts @ difference.nan_to_num(0.0) / (counts @ (~difference.isnan()).double())


def _p_values(metrics: Sequence[PairedMetric], set_names: Sequence[Any]) -> np.ndarray:
    sizes = {name: len(first) for metric in metrics for name, (first, _) in metric.sets.items()}
    places, stop = {}, 0
    for name in (name for name in set_names if name in sizes):
        places[name] = slice(stop, stop + sizes[name])
        stop += sizes[name]
    differs = np.zeros(stop, dtype=bool)
    for metric in metrics:
        for name, (first, second) in metric.sets.items():
            differs[places[name]] |= ((first != second) & ~first.isnan()).numpy()

    def of_swaps(swaps: np.ndarray) -> np.ndarray:
        of_metrics = []
        for metric in metrics:
            pairs = [(*pair, swaps[:, places[name]]) for name, pair in metric.sets.items()]
            of_metrics.append(np.mean([_swapped_difference(*pair, metric.median) for pair in pairs], axis=0))
        return np.stack(of_metrics, axis=1)

    return randomisation_p_values(differs, of_swaps)


def _swapped_difference(first: Tensor, second: Tensor, swaps: np.ndarray, median: bool) -> np.ndarray:
    """Second minus first (R,), with the values of the queries changing places where `swaps` (R, Q) is 1."""
    one, other = first.double().numpy(), second.double().numpy()
    valid = ~np.isnan(one)
    if median:
        turned = swaps[:, valid].astype(bool)
        after: np.ndarray = np.median(np.where(turned, one[valid], other[valid]), axis=1)
        return after - np.median(np.where(turned, other[valid], one[valid]), axis=1)
    change = np.where(valid, other - one, 0.0)
    difference: np.ndarray = (change.sum() - 2 * (swaps @ change)) / valid.sum()
    return difference

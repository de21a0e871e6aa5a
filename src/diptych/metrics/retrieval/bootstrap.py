"""Percentile bootstrap intervals over queries (Efron and Tibshirani 1993, chapter 13)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from statistics import NormalDist

import torch
from torch import Tensor

from diptych.contracts.retrieval import EvaluationProtocol, MetricValues
from diptych.metrics.wilson import wilson_interval

CHUNK_VALUES = 2**22  # resampled values held at once


def intervals(
    expanded: Mapping[str, MetricValues],
    protocol: EvaluationProtocol,
    *,
    num_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """(low, high) for every number that `aggregate.summarise` gives for the same metrics, unless no draw had a value.

    Queries are drawn with replacement, the same draws for all metrics; equal arguments give equal intervals. Bounds are
    order statistics, rounded outwards. Where all queries have 0, or all 1, every draw is alike: such a share gets
    Wilson's interval, since 0 of 5 does not mean 0 of all.

    Raises:
        ValueError: a level outside (0, 1), or no resamples.
    """
    if not 0 < level < 1 or num_resamples < 1:
        raise ValueError(f"level must lie between 0 and 1 and num_resamples be positive: {level}, {num_resamples}")
    if not expanded:
        return {}
    chunks: dict[str, list[Tensor]] = {name: [] for name in expanded}
    num_queries = len(next(iter(expanded.values())).values)
    for counts in resampled_counts(num_queries, num_resamples, seed):
        for name, metric in expanded.items():
            reduce = weighted_median if metric.reduction == "median" else _weighted_mean
            chunks[name].append(reduce(metric.values.double(), counts))
    resampled = {name: torch.cat(parts) for name, parts in chunks.items()}
    if protocol.average_of and all(name in resampled for name in protocol.average_of):
        resampled["average"] = torch.stack([resampled[name] for name in protocol.average_of]).mean(0)
    drawn = {name: numbers[~numbers.isnan()] for name, numbers in resampled.items()}
    found = {name: percentiles(numbers, level) for name, numbers in drawn.items() if len(numbers)}
    return found | {name: _of_share(metric, level) for name, metric in expanded.items() if _is_bare_share(metric)}


def interval_of(
    number: Callable[..., Tensor], *values: Tensor, num_resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[float, float] | None:
    """(low, high) of a number that is made of means, such as the ratio of two; None if no draw had a finite one.

    `number` takes the means (R,) of each of the `values` (Q,), without their NaN, in R draws of the queries, and gives
    that of each draw (R,). The draws are those of `intervals` for equal arguments.
    """
    chunks = [
        number(*(_weighted_mean(one.double(), counts) for one in values))
        for counts in resampled_counts(len(values[0]), num_resamples, seed)
    ]
    numbers = torch.cat(chunks)
    numbers = numbers[numbers.isfinite()]
    return percentiles(numbers, level) if len(numbers) else None


def _is_bare_share(metric: MetricValues) -> bool:
    """Whether all queries have 0, or all have 1."""
    values = metric.values[~metric.values.isnan()]
    return metric.reduction == "mean" and len(values) > 0 and bool((values == values[0]).all()) and values[0] in (0, 1)


def _of_share(metric: MetricValues, level: float) -> tuple[float, float]:
    values = metric.values[~metric.values.isnan()]
    return wilson_interval(float(values.sum()), len(values), NormalDist().inv_cdf((1 + level) / 2))


def resampled_counts(num_queries: int, num_resamples: int, seed: int) -> Iterator[Tensor]:
    """Chunks (R, Q) float64 of how often each query was drawn."""
    generator = torch.Generator().manual_seed(seed)
    rows = max(1, CHUNK_VALUES // num_queries)
    for start in range(0, num_resamples, rows):
        size = (min(rows, num_resamples - start), num_queries)
        drawn = torch.randint(num_queries, size, generator=generator)
        yield torch.zeros(size, dtype=torch.float64).scatter_add_(1, drawn, torch.ones(size, dtype=torch.float64))


def _weighted_mean(values: Tensor, counts: Tensor) -> Tensor:
    """Means (R,) of `values` (Q,) without its NaN, each counted `counts` (R, Q) times; NaN if nothing was drawn."""
    valid = ~values.isnan()
    return counts[:, valid] @ values[valid] / counts[:, valid].sum(1)


def weighted_median(values: Tensor, counts: Tensor) -> Tensor:
    """Medians (R,), as `median_rank` defines them; NaN if nothing was drawn."""
    valid = ~values.isnan()
    ordered, order = values[valid].sort()
    cumulative = counts[:, valid][:, order].cumsum(1)
    total = cumulative[:, -1:]
    middle = torch.cat([(total + 1).div(2, rounding_mode="floor"), total.div(2, rounding_mode="floor") + 1], dim=1)
    places = torch.searchsorted(cumulative, middle).clamp_(max=len(ordered) - 1)
    return ordered[places].mean(1).masked_fill(total[:, 0] == 0, float("nan"))


def percentiles(numbers: Tensor, level: float) -> tuple[float, float]:
    """The central `level` of the numbers (R,). Order statistics without interpolation, as ranks may be infinite."""
    ordered = numbers.sort().values
    outside = int((1 - level) / 2 * (len(ordered) - 1))
    return float(ordered[outside]), float(ordered[len(ordered) - 1 - outside])

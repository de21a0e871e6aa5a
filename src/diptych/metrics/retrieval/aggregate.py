"""From values per query to the numbers of a result: means, medians, per-aspect metrics, and the protocol's average."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from diptych.contracts.retrieval import EvaluationProtocol, MetricValues
from diptych.metrics.retrieval.median_rank import median_rank


def summarise(expanded: Mapping[str, MetricValues], protocol: EvaluationProtocol) -> dict[str, float]:
    """Every metric of `with_aspects` reduced over its queries, and `average` where all of its parts are there."""
    numbers = {name: reduce_values(metric) for name, metric in expanded.items()}
    if protocol.average_of and all(name in numbers for name in protocol.average_of):
        numbers["average"] = sum(numbers[name] for name in protocol.average_of) / len(protocol.average_of)
    return numbers


def with_aspects(
    values: Mapping[str, MetricValues], aspects: Sequence[tuple[str, ...]], protocol: EvaluationProtocol
) -> dict[str, MetricValues]:
    """`values`, and for the protocol's aspect metrics `<metric>/<aspect>` (NaN at queries without the aspect), without
    those that are NaN throughout.

    `aspects` (Q entries) are those of each query; they come in the order of their first appearance.

    Raises:
        ValueError: the protocol names a metric that `values` lacks, or a metric has not Q values.
    """
    _check(values, aspects, protocol)
    expanded = dict(values)
    names = dict.fromkeys(aspect for of_query in aspects for aspect in of_query)
    for metric in protocol.aspect_metrics:
        for aspect in names:
            outside = torch.tensor([aspect not in of_query for of_query in aspects])
            kept = values[metric].values.masked_fill(outside, float("nan"))
            expanded[f"{metric}/{aspect}"] = replace(values[metric], values=kept)
    return {name: metric for name, metric in expanded.items() if not metric.values.isnan().all()}


def reduce_values(metric: MetricValues) -> float:
    """The mean or median of the values that are not NaN. Raises ValueError for another reduction."""
    if metric.reduction == "mean":
        return float(metric.values.double().nanmean())
    if metric.reduction == "median":
        return median_rank(metric.values)
    raise ValueError(f"reduction must be 'mean' or 'median', not {metric.reduction!r}")


def _check(
    values: Mapping[str, MetricValues], aspects: Sequence[tuple[str, ...]], protocol: EvaluationProtocol
) -> None:
    for name, metric in values.items():
        if len(metric.values) != len(aspects):
            raise ValueError(f"{name} has {len(metric.values)} values for {len(aspects)} queries")
    for name in (*protocol.average_of, *protocol.aspect_metrics):
        if name not in values:
            raise ValueError(f"{protocol.describe()} needs the metric {name}, computed were: {', '.join(values)}")

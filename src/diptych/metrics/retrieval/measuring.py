"""From ranked queries to a set's numbers: per query, in all, per aspect, with intervals; and what the numbers mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from torchmetrics import Metric

from diptych.contracts.retrieval import EvaluationProtocol, MetricMeaning, MetricValues, Query, RankedQuery
from diptych.metrics.retrieval.aggregate import summarise, with_aspects
from diptych.metrics.retrieval.bootstrap import intervals
from diptych.ranking.short_lists import ShortLists

AVERAGE = "average"


@dataclass
class SetResult:
    """The results of one evaluation set: `metrics` by name (`recall_at_1`, `image_only/recall_at_1`), 95 % `bounds`
    of the model's own metrics, the ranked queries, and the model's `values` per query (in the order of `ranked`), of
    which `metrics` and `bounds` are made, those of an aspect included. `meanings` say by plain name (`recall_at_1`) how
    the metrics are to be read. `counts` go into metrics.json, summed over the sets. `absent` says of metrics
    without a number why they have none, `short` of which lists of a file were too short for their K.
    """

    name: str
    protocol: EvaluationProtocol
    queries: Sequence[Query]
    gallery_ids: tuple[str, ...]
    ranked: list[RankedQuery]
    metrics: dict[str, float] = field(default_factory=dict)
    bounds: dict[str, tuple[float, float]] = field(default_factory=dict)
    values: dict[str, MetricValues] = field(default_factory=dict)
    meanings: dict[str, MetricMeaning] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    short: dict[str, ShortLists] = field(default_factory=dict)


def measure(
    name: str,
    protocol: EvaluationProtocol,
    queries: Sequence[Query],
    ranked: list[RankedQuery],
    metrics: Mapping[str, Metric],
    with_bounds: bool,
) -> SetResult:
    """The metrics of ranked queries; none where the answers are hidden.

    Raises:
        ValueError: as `with_aspects`, or a metric gives a unit, direction or reduction that is none.
    """
    result = SetResult(name, protocol, queries, (), ranked)
    if protocol.answers_hidden:
        return result
    values: dict[str, MetricValues] = {}
    for metric in metrics.values():
        metric.reset()
        metric.update(ranked, protocol)
        values |= metric.compute()
    result.values = with_aspects(values, [query.aspects for query in ranked], protocol)
    result.absent = {name: of.absent for name, of in values.items() if of.absent and name not in result.values}
    result.meanings = _meanings(result.values, protocol)
    result.metrics = summarise(result.values, protocol)
    result.bounds = intervals(result.values, protocol) if with_bounds else {}
    return result


def _meanings(expanded: Mapping[str, MetricValues], protocol: EvaluationProtocol) -> dict[str, MetricMeaning]:
    """By plain name; `average` is read as its parts are, where these agree."""
    meanings: dict[str, MetricMeaning] = {}
    for name, metric in expanded.items():
        try:
            meanings.setdefault(name.partition("/")[0], metric.meaning)
        except ValueError as error:
            raise ValueError(f"metric {name}: {error}") from None
    if protocol.average_of and all(name in meanings for name in protocol.average_of):
        parts = {replace(meanings[name], reduction="mean") for name in protocol.average_of}
        meanings[AVERAGE] = parts.pop() if len(parts) == 1 else MetricMeaning("score")
    return meanings


def summary(results: Sequence[SetResult]) -> dict[str, float]:
    """The metrics of all sets: of a single one as they are; of several also their mean, under the plain name."""
    if len(results) == 1:
        return dict(results[0].metrics)
    shared = set.intersection(*(set(result.metrics) for result in results))
    mean = {key: sum(result.metrics[key] for result in results) / len(results) for key in sorted(shared)}
    return mean | {f"{result.name}/{key}": value for result in results for key, value in result.metrics.items()}


def logged_meaning(results: Sequence[SetResult], key: str) -> MetricMeaning | None:
    """How a metric is to be read that was logged under a key with prefixes (`val/dress/recall_at_1/negation`); None
    where none of the sets has it.
    """
    meanings = all_meanings(results)
    return next((meanings[part] for part in key.split("/") if part in meanings), None)


def all_meanings(results: Sequence[SetResult]) -> dict[str, MetricMeaning]:
    """How the metrics of all sets are to be read, by plain name.

    Raises:
        ValueError: the sets do not agree on one.
    """
    meanings: dict[str, MetricMeaning] = {}
    for result in results:
        for name, meaning in result.meanings.items():
            if meanings.setdefault(name, meaning) != meaning:
                raise ValueError(f"metric {name} of set {result.name} is a {meaning}, of another set {meanings[name]}")
    return meanings

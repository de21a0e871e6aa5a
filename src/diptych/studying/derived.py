"""Metrics that a study makes of others, query by query: the gap between two sets of one evaluation, say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from diptych.contracts.retrieval import MetricMeaning

ByQuery = Mapping[str, float | None]

TAKEN: Mapping[str, Callable[[Sequence[float]], float]] = {
    "mean": fmean,
    "difference": lambda values: values[0] - fmean(values[1:]),
    "range": lambda values: max(values) - min(values),
}


@dataclass(frozen=True, slots=True)
class Derived:
    """A metric of the metrics `of`: of each query's values in them their `mean`, the `difference` between the first and
    the mean of the others, or their `range`, from the lowest to the highest (of hits: whether some hit and some miss).

    Raises:
        ValueError: `take` is none of these, or `of` names fewer than two metrics.
    """

    take: str
    of: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.take not in TAKEN:
            raise ValueError(f"take must be one of {', '.join(TAKEN)}: {self.take!r}")
        if len(self.of) < 2:
            raise ValueError(f"of must name two metrics or more, found {', '.join(self.of) or 'none'}")

    def __str__(self) -> str:
        """In words, for plan and page."""
        first, *others = self.of
        if self.take == "difference":
            return f"{first} minus {', '.join(others)}" + (", their mean" if others[1:] else "")
        return f"{self.take} of {', '.join(self.of)}"

    def meaning(self, parts: Sequence[MetricMeaning]) -> MetricMeaning:
        """How it is to be read. How far values lie apart describes: it says nothing of how good they are.

        Raises:
            ValueError: the parts are not all in one unit, or medians, of which no mean over queries is made.
        """
        if len({part.unit for part in parts}) > 1 or any(part.reduction != "mean" for part in parts):
            raise ValueError(f"{', '.join(self.of)} are not means in one unit, of which nothing is made")
        return MetricMeaning(parts[0].unit, parts[0].better if self.take == "mean" else None)

    def values(self, parts: Sequence[ByQuery]) -> dict[str, float | None]:
        """By query, under the name that it has in the first part: a query is the same in all where it has the same name
        behind the set's and a bar. None where a part has none.

        Raises:
            ValueError: the parts were measured on different queries.
        """
        of_parts = [
            {_bare(query, metric): value for query, value in part.items()}
            for metric, part in zip(self.of, parts, strict=True)
        ]
        for metric, of_part in zip(self.of, of_parts, strict=True):
            if of_part.keys() != of_parts[0].keys():
                raise ValueError(
                    f"{self.of[0]} and {metric} have values for different queries, of which nothing is made"
                )
        found: dict[str, float | None] = {}
        for name in parts[0]:
            values = [of_part[_bare(name, self.of[0])] for of_part in of_parts]
            known = [value for value in values if value is not None]
            found[name] = TAKEN[self.take](known) if len(known) == len(values) else None
        return found


def _bare(query: str, metric: str) -> str:
    """The query's name without that of the metric's set."""
    return query.removeprefix(metric.partition("/")[0] + "/")


def with_derived(values: Mapping[str, ByQuery], derived: Mapping[str, Derived]) -> dict[str, ByQuery]:
    """The values by metric, and those of the derived metrics all of whose parts are there.

    Raises:
        ValueError: a derived metric has the name of another, or its parts do not fit.
    """
    found = dict(values)
    for name, one in derived.items():
        if name in found:
            raise ValueError(f"derived: {name} is the name of a metric that is there already; choose another")
        if values.keys() >= set(one.of):
            found[name] = one.values([values[part] for part in one.of])
    return found

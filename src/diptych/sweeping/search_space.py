"""What a search varies: Hydra's sweep overrides, `lr=interval(1e-3,3e-2)`, as Optuna's distributions and back."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)


@dataclass(frozen=True)
class Parameter:
    """One key that is varied, as it stands before the `=`. `values` are all it can take, or None when it is
    continuous; those of a choice are words, those of a range or of whole numbers are numbers, ascending.
    """

    key: str
    distribution: BaseDistribution
    values: Sequence[Any] | None

    def word(self, value: Any) -> str:
        """The override that sets the value."""
        if self.values is not None and isinstance(self.distribution, FloatDistribution):
            value = min(self.values, key=lambda known: abs(known - value))
        return f"{self.key}={value}"


@dataclass(frozen=True)
class SearchSpace:
    """All that is varied, in the order of the command line."""

    parameters: tuple[Parameter, ...]

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's, by key."""
        return {parameter.key: parameter.distribution for parameter in self.parameters}

    @property
    def size(self) -> int | None:
        """The number of points; None when a parameter is continuous."""
        if any(parameter.values is None for parameter in self.parameters):
            return None
        return math.prod(len(parameter.values or ()) for parameter in self.parameters)

    def check(self, point: Mapping[str, Any], name: str) -> None:
        """ValueError unless every value of the point, which `name` has, is one of this space: a study is a file that
        others may have written, and its values become overrides.
        """
        for parameter in self.parameters:
            value = point.get(parameter.key)
            if not _is_in(value, parameter.distribution):
                raise ValueError(
                    f"{name}: {parameter.key}={str(value)[:200]!r} is no value that is searched; the study was changed"
                    " by somebody. Give the search another name: hydra.sweeper.study=..."
                )

    def words(self, point: Mapping[str, Any]) -> tuple[str, ...]:
        """The overrides that set a point; two points are the same when these are."""
        return tuple(parameter.word(point[parameter.key]) for parameter in self.parameters)

    def points(self) -> Iterator[dict[str, Any]]:
        """All points of a finite space, by key; the last parameter varies fastest."""
        for values in itertools.product(*(parameter.values or () for parameter in self.parameters)):
            yield {parameter.key: value for parameter, value in zip(self.parameters, values, strict=True)}

    def corner(self) -> tuple[str, ...]:
        """The overrides that set the first point: what can be composed with them can be composed."""
        first = {p.key: p.values[0] if p.values else getattr(p.distribution, "low", None) for p in self.parameters}
        return self.words(first)

    def described(self) -> dict[str, str]:
        """Each parameter's distribution as JSON, by key."""
        return {key: distribution_to_json(distribution) for key, distribution in self.distributions.items()}


def _is_in(value: Any, distribution: BaseDistribution) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return any(type(value) is type(choice) and value == choice for choice in distribution.choices)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    low, high = distribution.low, distribution.high
    return bool(low <= value <= high) and (isinstance(distribution, FloatDistribution) or value == int(value))


def split(overrides: Sequence[Override]) -> tuple[SearchSpace, list[str]]:
    """What is varied, and the overrides that are fixed. Of two overrides of one key the later counts.

    `choice(...)` and comma lists are unordered; `range(...)` is ordered, its end left out; `interval(a,b)` is
    continuous, `int(interval(a,b))` whole numbers with both ends; `tag(log,...)` makes an interval logarithmic.

    Raises:
        ValueError: nothing is varied, or a range is impossible; names the key.
    """
    by_key = {override.get_key_element(): override for override in overrides}
    parameters = tuple(_parameter(key, override) for key, override in by_key.items() if override.is_sweep_override())
    if not parameters:
        raise ValueError(
            "nothing is searched: give keys as key=interval(a,b), key=choice(a,b), key=range(a,b) or key=a,b, on the "
            "command line or under hydra.sweeper.params"
        )
    return SearchSpace(parameters), [str(o.input_line) for o in by_key.values() if not o.is_sweep_override()]


def _parameter(key: str, override: Override) -> Parameter:
    try:
        if override.is_choice_sweep():
            words = tuple(dict.fromkeys(override.sweep_string_iterator()))
            _check_tags(override, allowed=set())
            return Parameter(key, CategoricalDistribution(words), words)
        log = "log" in _check_tags(override, allowed={"log"})
        value = override.value()
        if isinstance(value, RangeSweep):
            return _range(key, value, len(list(override.sweep_iterator())), log)
        return _interval(key, value, log)
    except ValueError as error:
        raise ValueError(f"{override.input_line}: cannot be searched: {error}") from error


def _check_tags(override: Override, allowed: set[str]) -> set[str]:
    tags = set(getattr(override.value(), "tags", ()))
    if tags - allowed:
        raise ValueError(f"unknown tags {', '.join(sorted(tags - allowed))}; there is log, of intervals and ranges")
    return tags


def _range(key: str, span: RangeSweep, number: int, log: bool) -> Parameter:
    if not number:
        raise ValueError("the range is empty")
    start, step = Decimal(str(span.start)), Decimal(str(span.step))  # in floats 0.1 + 0.2 is not 0.3
    exact = sorted(start + place * step for place in range(number))
    if isinstance(span.range(), range):
        whole = [int(value) for value in exact]
        return Parameter(key, IntDistribution(whole[0], whole[-1], log=log, step=int(abs(step))), whole)
    values = [float(value) for value in exact]
    return Parameter(key, FloatDistribution(values[0], values[-1], log=log, step=float(abs(step))), values)


def _interval(key: str, interval: Any, log: bool) -> Parameter:
    assert isinstance(interval, IntervalSweep)
    low, high = interval.start, interval.end
    assert low is not None and high is not None  # Hydra's parser asks for both
    if isinstance(low, int) and isinstance(high, int):
        return Parameter(key, IntDistribution(low, high, log=log), range(low, high + 1))
    return Parameter(key, FloatDistribution(low, high, log=log), None)

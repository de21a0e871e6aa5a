"""The queries of which two arms made the most different: what stood behind a difference, for people to look at."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean

from diptych.studying.result import StudyResult
from diptych.studying.run_answers import Answer, read_answers
from diptych.studying.run_queries import AskedQuery, read_queries
from diptych.studying.table import OfSeeds

log = logging.getLogger(__name__)

MOST = 5


@dataclass(frozen=True, slots=True)
class Changed:
    """A query with its mean over the seeds in the control and in the arm."""

    query: str
    before: float
    after: float

    @property
    def change(self) -> float:
        """The arm's minus the control's."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Side:
    """What an arm made of a query: its answers by seed, as far as its runs left any."""

    arm: str
    answers: Mapping[int, Answer]

    @property
    def first_seed(self) -> int | None:
        """The first seed that left one."""
        return next(iter(self.answers), None)

    @property
    def first(self) -> Answer | None:
        """Its answer."""
        return next(iter(self.answers.values()), None)


@dataclass(frozen=True, slots=True)
class Example:
    """A query that changed, what was asked (None where its data cannot be read), and what both arms made of it."""

    changed: Changed
    asked: AskedQuery | None
    control: Side
    arm: Side


@dataclass(frozen=True, slots=True)
class Examples:
    """The examples of an arm against a control by a metric, and of all queries how many rose, fell and stayed.
    `problem` says why they have no pictures, where they have none.
    """

    metric: str
    arm: str
    control: str
    examples: Sequence[Example]
    risen: int
    fallen: int
    unchanged: int
    problem: str = ""


def examples_of(result: StudyResult, most: int = MOST) -> list[Examples]:
    """Of each pair of arms that a hypothesis compares, by the metric of its first one, the queries that changed most.
    Pairs without values per query have none.
    """
    pairs: dict[tuple[str, str], str] = {}
    for verdict in result.verdicts:
        pairs.setdefault((verdict.hypothesis.arm, verdict.hypothesis.control), verdict.hypothesis.metric)
    runs = _Runs(result)
    found = [_of_pair(runs, metric, arm, control, most) for (arm, control), metric in pairs.items()]
    return [one for one in found if one is not None]


def most_changed(changed: Sequence[Changed], moves: Mapping[str, float], most: int) -> list[Changed]:
    """The `most` queries whose value changed most, up or down; those that did not change at all are not among them. Of
    equal ones those come first whose target moved further (`moves`, 0 where that is not known), then as they stand.
    """
    order = sorted(changed, key=lambda one: (-round(abs(one.change), 9), -moves.get(one.query, 0.0)))
    return [one for one in order if one.change][:most]


def all_changed(control: OfSeeds, arm: OfSeeds) -> list[Changed]:
    """Every query that has a value in both arms, in the control's order."""
    before, after = _means(control), _means(arm)
    return [Changed(query, before[query], after[query]) for query in before if query and query in after]


class _Runs:
    """What the runs of a study left, each folder read once."""

    def __init__(self, result: StudyResult) -> None:
        self.result = result
        self._queries, self._answers = cache(read_queries), cache(self._read_answers)

    def asked(self, arm: str) -> dict[str, AskedQuery]:
        """The queries of an arm, by name."""
        return self._queries(self.result.last_folder(arm, self._seeds(arm)[0]))

    def answers(self, arm: str) -> dict[int, dict[str, Answer]]:
        """The answers of an arm, by seed and query."""
        return {seed: self._answers(arm, seed) for seed in self._seeds(arm)}

    def _seeds(self, arm: str) -> list[int]:
        return sorted({seed for of_seeds in self.result.values[arm].values() for seed in of_seeds})

    def _read_answers(self, arm: str, seed: int) -> dict[str, Answer]:
        return read_answers(self.result.last_folder(arm, seed), self.asked(arm))


def _of_pair(runs: _Runs, metric: str, arm: str, control: str, most: int) -> Examples | None:
    control_values, arm_values = (runs.result.values.get(name, {}).get(metric, {}) for name in (control, arm))
    changed = all_changed(control_values, arm_values)
    if not changed:
        return None
    asked: dict[str, AskedQuery] = {}
    answers: dict[str, dict[int, dict[str, Answer]]] = {control: {}, arm: {}}
    problem = ""
    try:
        asked = runs.asked(control)
        answers = {name: runs.answers(name) for name in (control, arm)}
    except Exception as error:  # what data of somebody's own may raise: the figures do not depend on it
        problem = str(error) or type(error).__name__
        log.warning("study %s: what changed is shown without pictures: %s", runs.result.study.name, problem)
    places = {name: _mean_log_ranks(of_seeds.values()) for name, of_seeds in answers.items()}
    moves = {query: abs(places[arm].get(query, place) - place) for query, place in places[control].items()}
    names = {one.query: _name(one.query, asked) for one in changed}
    examples = []
    for one in most_changed(changed, {query: moves.get(name, 0.0) for query, name in names.items()}, most):
        sides = [Side(name, _of_query(names[one.query], found)) for name, found in answers.items()]
        examples.append(Example(one, asked.get(names[one.query]), *sides))
    risen, fallen = sum(one.change > 0 for one in changed), sum(one.change < 0 for one in changed)
    return Examples(metric, arm, control, examples, risen, fallen, len(changed) - risen - fallen, problem)


def _name(query: str, asked: Mapping[str, AskedQuery]) -> str:
    """The query's name in its run: without what it was measured on, where the arms of a study differ in that."""
    return query if query in asked else query.partition(": ")[2]


def _of_query(query: str, answers: Mapping[int, Mapping[str, Answer]]) -> dict[int, Answer]:
    return {seed: found[query] for seed, found in answers.items() if query in found}


def _mean_log_ranks(of_seeds: Iterable[Mapping[str, Answer]]) -> dict[str, float]:
    """By query: from rank 1 to 10 is as far as from 10 to 100."""
    found: dict[str, list[float]] = {}
    for answers in of_seeds:
        for query, answer in answers.items():
            if answer.found:
                found.setdefault(query, []).append(math.log(answer.rank or len(answer.found) + 1))
    return {query: fmean(places) for query, places in found.items()}


def _means(of_seeds: OfSeeds) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for of_seed in of_seeds.values():
        for query, value in of_seed.items():
            if value is not None and not math.isnan(value):
                found.setdefault(query, []).append(value)
    return {query: fmean(values) for query, values in found.items()}

"""What the arms of a study came to: the values of its metrics, query by query, out of what the last steps left."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from diptych.config.checking import suggest
from diptych.contracts.retrieval import MetricMeaning
from diptych.metrics.retrieval.median_rank import median_rank
from diptych.results.record import SCORES
from diptych.studying.arm_spending import SPENT, spent
from diptych.studying.audited import audited_pairs
from diptych.studying.derived import Derived, with_derived
from diptych.studying.plan import Study
from diptych.studying.server_answers import Answers
from diptych.studying.steps import Steps
from diptych.sweeping.run_records import RESULT, RunRecord, find_runs
from diptych.sweeping.scores import ROUNDED, read_scores, value_of_null, values_of

log = logging.getLogger(__name__)

ByQuery = dict[str, float | None]


@dataclass
class Collected:
    """`values` are arm -> metric -> seed -> query -> value: see `collect`. `meanings` say of every metric how it is to
    be read, `facts` of every arm what its numbers mean (see `RunRecord.facts`), and `lost` why an arm has none.
    """

    values: dict[str, dict[str, dict[int, ByQuery]]] = field(default_factory=dict)
    meanings: dict[str, MetricMeaning] = field(default_factory=dict)
    facts: dict[str, dict[str, str]] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)

    def unlike(self) -> list[str]:
        """What the arms were not measured alike in, a line each with the arms of each value; empty where all numbers
        mean the same.
        """
        lines = []
        for name in dict.fromkeys(name for facts in self.facts.values() for name in facts):
            arms: dict[str, list[str]] = {}  # by value
            for arm, facts in self.facts.items():
                arms.setdefault(facts.get(name, "none"), []).append(arm)
            if len(arms) > 1:
                lines.append(f"{name}: " + "; ".join(f"{value} ({', '.join(of)})" for value, of in arms.items()))
        return lines


def collect(study: Study, steps: Steps, not_done: Mapping[str, str], answers: Answers | None = None) -> Collected:
    """The values of all arms whose last steps are done for every seed, and beside them what servers have answered.

    A metric that the last step has not measured is that of the last pipeline before it that has, or one of `SPENT`, the
    sum over all steps. A query is named by its id, behind its set and a bar where there are several. A metric that is
    not the mean, or the median, of its values per query (corpus BLEU, the mean of several sets), or that has none, has
    one value for each seed, under the empty name. One that the results do not have is left out, and said; so is one
    that is made of it.
    """
    metrics = list(dict.fromkeys([*study.metrics, *(one.metric for one in study.hypotheses)]))
    read = list(dict.fromkeys([*metrics, *(part for one in study.derived.values() for part in one.of)]))
    collected = Collected()
    for arm in study.arms:
        last = {seed: names[-1] for seed, names in arm.steps.items()}
        if lost := next((f"{name}: {not_done[name]}" for name in last.values() if name in not_done), None):
            collected.lost[arm.name] = lost
            continue
        try:
            runs = {seed: _evaluated(steps, name) for seed, name in last.items()}
            answered = (answers or {}).get(arm.name, {})
            done = {seed: [name for name in names if name not in not_done] for seed, names in arm.steps.items()}
            found = {seed: _measured(steps, done[seed], run, read) for seed, run in runs.items()}
            by_seed = {
                seed: with_derived(_answers(answered.get(seed, {})) | one.values, study.derived)
                for seed, one in found.items()
            }
            run, first = next(iter(runs.values())), next(iter(found.values()))
            own = [metric for metric in metrics if all(metric in values for values in by_seed.values())]
            meanings = {metric: _meaning(metric, first, run, study.derived) for metric in own}
        except ValueError as error:
            collected.lost[arm.name] = str(error)
            log.error("arm %s: %s", arm.name, error)
            continue
        collected.facts[arm.name] = run.facts
        collected.meanings = meanings | collected.meanings
        for metric in read:
            if any(metric not in values for values in by_seed.values()):
                log.warning("arm %s has no %s.%s", arm.name, metric, suggest(metric, list(run.cells)))
        collected.values[arm.name] = {
            metric: {seed: dict(values[metric]) for seed, values in by_seed.items()} for metric in own
        }
    _tell_apart(collected)
    return collected


def _meaning(metric: str, found: _Measured, run: RunRecord, derived: Mapping[str, Derived]) -> MetricMeaning:
    parts = derived[metric].of if metric in derived else (metric,)
    meanings = [found.meanings.get(part) or run.meaning(part) for part in parts]
    return derived[metric].meaning(meanings) if metric in derived else meanings[0]


def _answers(of_servers: Mapping[str, float]) -> dict[str, ByQuery]:
    return {metric: {"": value} for metric, value in of_servers.items()}


def _tell_apart(collected: Collected) -> None:
    """Where arms were measured on different data or splits, equal names of queries mean nothing: gives them others."""
    places = {arm: f"{facts['data']} {facts['split']}" for arm, facts in collected.facts.items()}
    if len(set(places.values())) > 1:
        for arm, of_metrics in collected.values.items():
            for by_seed in of_metrics.values():
                for seed, values in by_seed.items():
                    by_seed[seed] = {key and f"{places[arm]}: {key}": value for key, value in values.items()}


def values_by_query(run: RunRecord, metrics: Sequence[str]) -> dict[str, ByQuery]:
    """The values per query of those metrics that the run has."""
    assert run.result is not None
    stored = run.result["metrics"]
    scores = read_scores(run) if (run.folder / SCORES).is_file() else {}
    sets = {name for name, _ in scores}
    found: dict[str, ByQuery] = {}
    for metric in metrics:
        if (value := stored.get(metric)) is None:
            continue
        own_set = next((name for name in sets if name and metric.startswith(f"{name}/")), None)
        queries = [query for query in scores if own_set in (None, query[0])]
        key = metric.removeprefix(f"{own_set}/") if own_set else metric
        numbers = values_of(key, scores, queries, value_of_null(run.result))
        median = run.meaning(metric).reduction == "median"
        found[metric] = dict(audited_pairs(run.folder, metric) or {"": float(value)})
        if numbers.numel() and not numbers.isnan().all():
            reduced = median_rank(numbers) if median else float(numbers.nanmean())
            if math.isclose(value, reduced, rel_tol=1e-6, abs_tol=ROUNDED):
                names = [query if name is None else f"{name}/{query}" for name, query in queries]
                found[metric] = {
                    name: scores[query].get(key)
                    for name, query in zip(names, queries, strict=True)
                    if key in scores[query]
                }
    return found


@dataclass
class _Measured:
    """What the steps of an arm have of some metrics for one seed, and how that is to be read."""

    values: dict[str, ByQuery] = field(default_factory=dict)
    meanings: dict[str, MetricMeaning] = field(default_factory=dict)

    def add(self, run: RunRecord | None, metrics: Sequence[str]) -> None:
        """Takes what a run has measured in place of what earlier ones have."""
        if run is not None and run.result is not None:
            found = values_by_query(run, metrics)
            self.values |= found
            self.meanings |= {metric: run.meaning(metric) for metric in found}


def _measured(steps: Steps, names: Sequence[str], last: RunRecord, metrics: Sequence[str]) -> _Measured:
    """Of the steps that are done: what was spent, what pipelines have measured, and what the last step has."""
    found = _Measured()
    if asked := [metric for metric in metrics if metric in SPENT]:
        amounts = spent([steps.folder(name) for name in names])
        found.values |= {metric: {"": amounts[metric]} for metric in asked if metric in amounts}
        found.meanings |= {metric: SPENT[metric] for metric in asked}
    for name in names:
        if steps.kind(name) == "pipeline":
            found.add(_run_of(steps, name), metrics)
    found.add(last, metrics)
    return found


def _evaluated(steps: Steps, name: str) -> RunRecord:
    """What the step has left.

    Raises:
        ValueError: nothing, or it is damaged; names the folder.
    """
    folder, record = steps.folder(name), _run_of(steps, name)
    if record is None or record.result is None:
        raise ValueError(
            f"{folder}: no {RESULT}; an arm's last step must be one that measures"
            + (f" ({record.problem})" if record and record.problem else "")
        )
    return record


def _run_of(steps: Steps, name: str) -> RunRecord | None:
    folder = steps.folder(name)
    return next((one for one in find_runs(folder) if one.folder == folder), None)

"""What a study has found and how, as its table, its plot and its page take it: filled by whoever runs the study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from diptych.contracts.retrieval import MetricMeaning
from diptych.results.results_table import NO_VALUE
from diptych.studying.hypotheses import Comparison, Verdict
from diptych.studying.plan import Study

DONE, FAILED = "done", "failed"


@dataclass(frozen=True, slots=True)
class StepRun:
    """How a step of the plan was run: `command` is the line that people type into a shell for it, `folder` where its
    results lie.

    `state` is `done`, `failed` (then `error` says why; its last line is shown first) or `waiting`; `seconds` of the
    wall clock are those of all starts together, None where it was not run. `planted` is the first line of a server:
    how often it does what wrong.
    """

    command: str
    folder: Path
    state: str = DONE
    seconds: float | None = None
    error: str = ""
    planted: str = ""


@dataclass(frozen=True, slots=True)
class StudyResult:
    """A study that was run: its plan, which was written at `planned_at` (ISO 8601) and has the SHA-256 `plan_hash`,
    both before the first run; `runs` of its steps by their names in the plan, and what came of them.

    `comparisons` are those of every arm with the control, by every metric; `verdicts` one for each hypothesis, in the
    plan's order. `values` are arm -> metric -> seed -> query -> value, as they were judged: an arm that failed is not
    among them. A query is named by its id, behind its set and a bar where there are several (`dress/q1`), and behind
    its data and split where the arms differ in them (`rooms val: q1`); a metric without values per query has one, under
    the empty name. `meanings` say of every metric how its numbers are read.

    `lost` says in a line why an arm has no values, where no step of its own failed. `command` is the line that repeats
    the study, `facts` are shown as they are: versions, the machine, the data.
    """

    study: Study
    plan_hash: str
    planned_at: str
    command: str
    runs: Mapping[str, StepRun]
    comparisons: Sequence[Comparison]
    verdicts: Sequence[Verdict]
    values: Mapping[str, Mapping[str, Mapping[int, Mapping[str, float | None]]]]
    meanings: Mapping[str, MetricMeaning]
    facts: Mapping[str, str] = field(default_factory=dict)
    lost: Mapping[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """The time of all steps; servers live beside the others and count nothing."""
        timed = [run for name, run in self.runs.items() if self.study.steps[name].kind != "serve"]
        return sum(run.seconds or 0.0 for run in timed)

    def failure(self, arm: str) -> tuple[str, StepRun] | None:
        """The first step of an arm that failed, by name; None where none did."""
        names = next(one for one in self.study.arms if one.name == arm).steps.values()
        ran = [(name, self.runs[name]) for of_seed in names for name in of_seed if name in self.runs]
        return next(((name, run) for name, run in ran if run.state == FAILED), None)

    def last_folder(self, arm: str, seed: int) -> Path:
        """Where the results of an arm and seed lie."""
        (steps,) = (one.steps[seed] for one in self.study.arms if one.name == arm)
        return self.runs[steps[-1]].folder


def time_text(seconds: float | None) -> str:
    """`41.2 s`, `12.5 min`; a dash where no time was taken."""
    if seconds is None:
        return NO_VALUE
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:,.1f} min"

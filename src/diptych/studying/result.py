"""What a study has found and how, as its table, its plot and its page take it: filled by whoever runs the study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from diptych.contracts.retrieval import MetricMeaning
from diptych.studying.judgement import Comparison, Verdict

DONE, FAILED = "done", "failed"


@dataclass(frozen=True, slots=True)
class StepRun:
    """One step as it was run: `kind` is `train`, `evaluate`, `pipeline` or `serve`, `command` the line that people
    type into a shell for it, `folder` where its results lie (None of a server).

    `state` is `done`, `failed` (then `error` says why, its last line is shown first) or `waiting`; `seconds` of the
    wall clock are those of all starts together, None where nothing was run. `planted` is the first line of a server:
    the rates of what it does wrong. Steps that arms share are equal objects in each of them.
    """

    kind: str
    command: str
    folder: Path | None = None
    state: str = DONE
    seconds: float | None = None
    error: str = ""
    planted: str = ""


@dataclass(frozen=True, slots=True)
class ArmRun:
    """An arm: its steps in order, those in front of every arm's included, by seed. The results of a seed lie in the
    folder of its last step.
    """

    name: str
    steps: Mapping[int, Sequence[StepRun]]

    @property
    def failures(self) -> list[tuple[int, StepRun]]:
        """The steps that failed, with their seeds."""
        return [(seed, step) for seed, steps in self.steps.items() for step in steps if step.state == FAILED]


@dataclass(frozen=True, slots=True)
class StudyResult:
    """A whole study.

    `question`, `limits`, `metrics` (in the table's order), `control` and `seeds` are the study file's, `arms` in its
    order, the control among them. `command` is the line that repeats the study. The plan was written at `planned_at`
    (ISO 8601) and has the SHA-256 `plan_hash`, both before the first run. `comparisons` are those of every arm with
    the control, by every metric; `verdicts` one for each hypothesis, in its order.

    `values` are arm -> metric -> seed -> query -> value, as they were judged: an arm that failed is not among them. A
    query is named by its id, behind its set and a bar where there are several (`dress/q1`); a metric without values
    per query has one, under the empty name. `meanings` say of every metric how its numbers are read.

    `dial` gives arms a number, if that is what they differ in, and `dial_name` says of what. `expected_minutes` are
    the study file's. `facts` are shown as they are: versions, the machine, the data.
    """

    name: str
    question: str
    limits: str
    command: str
    quick: bool
    plan_hash: str
    planned_at: str
    control: str
    metrics: Sequence[str]
    seeds: Sequence[int]
    arms: Sequence[ArmRun]
    comparisons: Sequence[Comparison]
    verdicts: Sequence[Verdict]
    values: Mapping[str, Mapping[str, Mapping[int, Mapping[str, float]]]]
    meanings: Mapping[str, MetricMeaning]
    dial: Mapping[str, float] = field(default_factory=dict)
    dial_name: str = ""
    expected_minutes: float | None = None
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """The time of all steps, each counted once; servers live beside the others and count nothing."""
        steps = {(step.command, step.folder): step for arm in self.arms for of in arm.steps.values() for step in of}
        return sum(step.seconds or 0.0 for step in steps.values() if step.kind != "serve")

"""One worker's part in an Optuna study that several workers share, with one folder for its runs.

Every decision is taken under a lock of the folder, so that workers, also of several machines, see each other's: which
trial comes next, whether it would be one too many, whether its parameters were tried before. A worker holds a lock in
the folder of a run while it lasts; a trial that runs in the study and is locked by nobody has lost its worker.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from diptych.storage.file_lock import locked, try_lock
from diptych.storage.json_shapes import fault_of
from diptych.storage.run_status import RunStatus, read_status
from diptych.sweeping.search_space import SearchSpace
from diptych.sweeping.study_file import FILE, asking_study, open_study_file

log = logging.getLogger(__name__)

_REPEATS = 10  # proposals of tried parameters in a row, after which an untried point is taken
_DIRECTIONS: dict[str, Literal["maximize", "minimize"]] = {"max": "maximize", "min": "minimize"}
_SHAPE = {"metric": str, "mode": str, "fixed": [str], "space": {str: str}}  # of a question as it is kept
_PLACE = ("cluster", "hydra")  # words that say where runs are executed, not which


@dataclass(frozen=True)
class Question:
    """What a study is about: the same for all its workers, and whenever it is resumed."""

    metric: str
    mode: str  # max or min
    space: SearchSpace
    fixed: tuple[str, ...]  # the other overrides of the command line

    def described(self) -> dict[str, Any]:
        """As it is kept in the study."""
        own = [word for word in self.fixed if word.split("=")[0].split(".")[0].lstrip("+~") not in _PLACE]
        return {"metric": self.metric, "mode": self.mode, "fixed": sorted(own), "space": self.space.described()}


@dataclass(frozen=True)
class Claim:
    """A trial that this worker is to run: its number, the overrides of its run, and the lock on its folder."""

    number: int
    words: tuple[str, ...]
    lock: IO[str]


class OptunaSearch:
    """A worker's view of the study `name` in `storage`, by default a file of the folder; its runs lie in
    `<folder>/<trial number>`.

    `trials` is how many the study is to have that ended with a value, those of all workers together. `sampler` is one
    of Optuna's, or a `functools.partial` of its class with a `seed`: then trial n is proposed with seed + n, so that a
    worker that is started again proposes what it would have proposed, and workers do not repeat each other.

    Raises:
        ValueError: the study was made for another question, names the difference; or its file is none of Optuna's.
    """

    def __init__(
        self,
        name: str,
        storage: str | BaseStorage | None,
        folder: Path,
        question: Question,
        trials: int,
        sampler: BaseSampler | functools.partial[BaseSampler],
    ) -> None:
        self.folder, self.question, self.trials = folder, question, trials
        self.failures: dict[int, str] = {}  # of this worker, by trial
        self.waits_for: list[int] = []  # trials that other workers were running at the last claim
        self._sampler = sampler
        self._held: set[int] = set()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._where = str(folder / FILE) if storage is None else f"study {name} of {folder}"
        with self._alone():  # two that make the tables of a new database at once disturb each other
            with asking_study(self._where):
                self._study = optuna.create_study(
                    study_name=name,
                    storage=open_study_file(folder) if storage is None else storage,
                    direction=_DIRECTIONS[question.mode],
                    load_if_exists=True,
                )
                known = self._study.user_attrs.get("question")
            empty = not self._trials()
            if known is None and empty and self._study.direction.name.lower() == _DIRECTIONS[question.mode]:
                self._study.set_user_attr("question", question.described())
            else:
                known = {} if fault_of(known, _SHAPE) else known
                _check_same(f"study {name} of {folder}", known, question.described())

    def claim(self) -> Claim | None:
        """The next trial to run: one that lost its worker, or a new one. None when the study has enough, counting
        those that run, or its space is exhausted; `waits_for` then says whose results are awaited.
        """
        with self._alone():
            for trial in self._trials():
                if trial.state == TrialState.RUNNING and (claim := self._adopt(trial)):
                    return claim
            trials = self._trials()
            running = [trial.number for trial in trials if trial.state == TrialState.RUNNING]
            complete = sum(trial.state == TrialState.COMPLETE for trial in trials)
            claim = self._ask() if complete + len(running) < self.trials else None
            self.waits_for = [] if claim else running
            return claim

    def finish(self, claim: Claim, status: RunStatus) -> None:
        """Tells the study how the run ended, and frees its folder. A stopped one stays open, to be resumed."""
        with self._alone():
            if status.state != "stopped":
                self._tell(claim.number, self._value(claim.number, status))
        self._held.discard(claim.number)
        claim.lock.close()

    def best(self) -> FrozenTrial | None:
        """The best trial of all workers so far; of equal ones the first."""
        sign = 1.0 if self.question.mode == "min" else -1.0
        complete = [trial for trial in self._trials() if trial.state == TrialState.COMPLETE]
        return min(complete, key=lambda trial: (sign * trial.values[0], trial.number), default=None)

    def report(self) -> dict[str, Any]:
        """The study's state, with its best trial: what `optuna.yaml` holds."""
        trials, best = self._trials(), self.best()
        counts = {state.name.lower(): sum(trial.state == state for trial in trials) for state in TrialState}
        return {
            "study": self._study.study_name,
            "metric": self.question.metric,
            "mode": self.question.mode,
            "trials": {name: count for name, count in counts.items() if count},
            "best": best and {"trial": best.number, "value": best.values[0], "overrides": [*self._words(best)]},
        }

    def _alone(self) -> Any:
        return locked(self.folder / ".optuna.lock")

    def _trials(self) -> list[FrozenTrial]:
        """All trials; ValueError where one is of no search: its number names a folder, and its value is compared."""
        with asking_study(self._where):
            trials = self._study.get_trials(deepcopy=False)
            for trial in trials:
                if type(trial.number) is not int or trial.number < 0:
                    raise LookupError(f"a trial in it has the number {str(trial.number)[:80]!r}")
                value = trial.values and trial.values[0]
                if trial.state == TrialState.COMPLETE and not (isinstance(value, float) and math.isfinite(value)):
                    raise LookupError(f"its trial {trial.number} is complete, and its value is {str(value)[:80]!r}")
            return trials

    def _words(self, trial: FrozenTrial | optuna.Trial) -> tuple[str, ...]:
        name = f"study {self._study.study_name} of {self.folder}, trial {trial.number}"
        self.question.space.check(trial.params, name)
        return self.question.space.words(trial.params)

    def _claimed(self, trial: FrozenTrial | optuna.Trial, lock: IO[str]) -> Claim:
        self._held.add(trial.number)
        return Claim(trial.number, (*self.question.fixed, *self._words(trial)), lock)

    def _adopt(self, trial: FrozenTrial) -> Claim | None:
        """The trial, if its worker is gone. What needs no run any more is told to the study instead."""
        folder = self.folder / str(trial.number)
        lock = None if trial.number in self._held else _lock_run(folder)
        if lock is None:
            return None
        status = read_status(folder)
        if trial.params.keys() != self.question.space.distributions.keys():  # died while the parameters were chosen
            self._study.tell(trial.number, state=TrialState.FAIL)
        elif status is not None and status.state in ("done", "failed"):
            self._tell(trial.number, self._value(trial.number, status))
        else:
            log.info("trial %d has lost its worker, resuming it", trial.number)
            return self._claimed(trial, lock)
        lock.close()
        return None

    def _ask(self) -> Claim | None:
        """A new trial with parameters that no other has; a proposal that repeats some is noted as pruned."""
        space = self.question.space
        for _ in range(_REPEATS):
            tried = self._tried()
            if space.size is not None and len(tried) >= space.size:
                return None
            trial = self._proposed()
            words = self._words(trial)
            if words not in tried:
                return self._locked(trial)
            trial.set_user_attr("repeats", tried[words])
            self._study.tell(trial.number, state=TrialState.PRUNED)
        if space.size is None:
            log.warning("the sampler only proposes what was tried: the search ends here")
            return None
        tried = self._tried()
        self._study.enqueue_trial(next(point for point in space.points() if space.words(point) not in tried))
        return self._locked(self._proposed())

    def _proposed(self) -> optuna.Trial:
        sampler = self._sampler
        if isinstance(sampler, functools.partial):
            number = len(self._trials())
            sampler = sampler(seed=(sampler.keywords.get("seed") or 0) + number)
        self._study.sampler = sampler
        with asking_study(self._where):
            return self._study.ask(self.question.space.distributions)

    def _locked(self, trial: optuna.Trial) -> Claim:
        lock = _lock_run(self.folder / str(trial.number))
        if lock is None:
            raise ValueError(f"{self.folder / str(trial.number)} is in use, but not by the study: is it another one's?")
        return self._claimed(trial, lock)

    def _tried(self) -> dict[tuple[str, ...], int]:
        """The trial of each point that is done or runs, or that failed here: what failed earlier may be tried again."""
        states = (TrialState.COMPLETE, TrialState.RUNNING)
        complete = self.question.space.distributions.keys()
        return {
            self._words(trial): trial.number
            for trial in self._trials()
            if (trial.state in states or trial.number in self.failures) and trial.params.keys() == complete
        }

    def _value(self, number: int, status: RunStatus) -> float | None:
        """The run's value of the metric; None, with the reason noted in `failures`, when it has none."""
        objective, metric = status.objective, self.question.metric
        value = objective.value if objective else None
        if status.state != "done":
            reason = (status.error or f"it ended as {status.state}").strip().splitlines()[-1]
        elif objective and (objective.metric != metric or objective.mode not in (None, self.question.mode)):
            reason = (
                f"its metric is {objective.metric} ({objective.mode}), the search's {metric} ({self.question.mode})"
            )
        elif value is None or not math.isfinite(value):
            reason = f"it has no finite {metric}: {value}"
        else:
            return value
        self.failures[number] = reason
        return None

    def _tell(self, number: int, value: float | None) -> None:
        try:
            self._study.tell(number, value, TrialState.FAIL if value is None else TrialState.COMPLETE)
        except RuntimeError as error:  # a grid's last trial: its sampler stops a loop of Optuna's, which we do not run
            if "Study.stop" not in str(error):
                raise


def _lock_run(folder: Path) -> IO[str] | None:
    """The lock of a run's worker; None when another worker has it."""
    return try_lock(folder / ".worker.lock", "a search needs locks: set hydra.sweep.dir")


def _check_same(study: str, known: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """ValueError, with every difference, when a study was made for another question."""
    differences = [
        f"{key} was {known.get(key)}, now {asked[key]}" for key in ("metric", "mode") if known.get(key) != asked[key]
    ]
    before, now = known.get("space", {}), asked["space"]
    differences += [
        f"{key} was searched in {before.get(key, 'nothing')}, now in {now.get(key, 'nothing')}"
        for key in dict.fromkeys([*before, *now])
        if before.get(key) != now.get(key)
    ]
    differences += _difference("without", known.get("fixed", ()), asked["fixed"])
    differences += _difference("with", asked["fixed"], known.get("fixed", ()))
    if differences:
        raise ValueError(
            f"{study} was made for another search: {'; '.join(differences)[:2000]}. Give the search another name "
            "(hydra.sweeper.study=...), or the overrides that it was started with"
        )


def _difference(name: str, one: Sequence[str], other: Sequence[str]) -> list[str]:
    words = [word for word in one if word not in other]
    return [f"now {name} {' '.join(words)}"] if words else []

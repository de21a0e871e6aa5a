"""Hydra's sweeper for searches with Optuna: `python train.py -m experiment=... sweep=optuna key=interval(a,b)`."""

from __future__ import annotations

import functools
import logging
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from diptych.storage.run_status import RunStatus
from diptych.storage.whole import write_text

if TYPE_CHECKING:  # Optuna takes a second to import, and every command line imports this file
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage

    from diptych.sweeping.optuna_search import Claim, OptunaSearch, Question

log = logging.getLogger(__name__)

RESULT = "optuna.yaml"
_SECONDS_BETWEEN_LOOKS = 2.0  # at the trials of other workers


@runtime_checkable
class RunsTrials(Protocol):
    """What a search asks of the launcher."""

    def launch_runs(self, numbered: Sequence[tuple[int, Sequence[str]]]) -> list[RunStatus]:
        """Runs them in `<sweep>/<number>` to their ends, and returns how they ended. Called from several threads."""
        ...

    def tabulate(self) -> None:
        """Shows the table of all runs."""
        ...


class OptunaSweeper(Sweeper):
    """Searches the best value of the experiment's primary metric, `callbacks.checkpointing.monitor` and its mode.

    The keys that are searched stand on the command line or in `params`, in Hydra's sweep syntax; everything else is
    fixed. The same command again, or at the same time, continues the study until `trials` of its runs have ended
    with a value. `at_once` is how many of them this worker runs at a time. When more than `max_failures` runs of this
    worker have failed, it starts no further ones.

    `storage` is any URL of Optuna, or a storage of its; by default a SQLite file in the sweep's folder. Optuna warns
    that SQLite may not work on NFS, where file locks are often broken, and names JournalStorage or a database server
    instead.
    """

    def __init__(
        self,
        study: str,
        trials: int,
        sampler: BaseSampler | functools.partial[BaseSampler],
        storage: str | BaseStorage | None = None,
        at_once: int = 1,
        max_failures: int = 3,
        params: Mapping[str, str] | None = None,
    ) -> None:
        if trials < 1 or at_once < 1 or max_failures < 0:
            raise ValueError(
                f"hydra.sweeper: trials={trials} and at_once={at_once} must be 1 or more, max_failures={max_failures} "
                "0 or more"
            )
        self.study, self.trials, self.sampler, self.storage = study, trials, sampler, storage
        self.at_once, self.max_failures, self.params = at_once, max_failures, dict(params or {})

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra; `config` is the sweep's, composed without the overrides that are swept."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> dict[str, Any]:
        """Runs this worker's share of the search, and waits for that of others. Writes the best into
        `<sweep>/optuna.yaml`, and returns the same.

        Raises:
            ValueError: the study is about something else, too many runs failed, or none ended with a value.
        """
        from diptych.sweeping.optuna_search import OptunaSearch

        assert self.config is not None
        folder = Path(str(self.config.hydra.sweep.dir)).resolve()
        question = self._question(arguments)
        folder.mkdir(parents=True, exist_ok=True)
        search = OptunaSearch(self.study, self.storage, folder, question, self.trials, self.sampler)
        stopped = self._work(search)
        return self._end(search, stopped)

    @property
    def _runner(self) -> RunsTrials:
        if not isinstance(self.launcher, RunsTrials):
            raise ValueError(f"a search needs hydra/launcher=runs, not {type(self.launcher).__name__}")
        return self.launcher

    def _question(self, arguments: Sequence[str]) -> Question:
        """What is searched, and for what; composes one config, so that mistakes show before there is a study."""
        from diptych.sweeping.optuna_search import Question
        from diptych.sweeping.search_space import split

        assert self.hydra_context is not None and self.config is not None
        loader = self.hydra_context.config_loader
        words = [*(f"{key}={value}" for key, value in self.params.items()), *arguments]
        space, fixed = split(OverridesParser.create(config_loader=loader).parse_overrides(words))
        config = loader.load_sweep_config(self.config, [*fixed, *space.corner()])
        metric, mode = (OmegaConf.select(config, f"callbacks.checkpointing.{key}") for key in ("monitor", "mode"))
        if metric is not None and mode is None:
            mode = mode_of(metric, OmegaConf.select(config, "system.metrics") or {})
        if metric is None or mode not in ("max", "min"):
            raise ValueError(
                "a search needs the experiment's primary metric: callbacks.checkpointing.monitor, and mode (max or "
                "min) where the metric does not say it"
            )
        return Question(metric, mode, space, tuple(fixed))

    def _work(self, search: OptunaSearch) -> list[int]:
        """Runs trials until there is nothing more to do; the numbers of those that were stopped by a signal."""
        launcher = self._runner
        running: dict[Future[list[RunStatus]], Claim] = {}
        stopped: list[int] = []
        awaited: list[int] = []
        error: BaseException | None = None
        with ThreadPoolExecutor(self.at_once) as threads:
            while True:
                goes_on = error is None and not stopped and len(search.failures) <= self.max_failures
                while goes_on and len(running) < self.at_once and (claim := search.claim()):
                    log.info("trial %d: %s", claim.number, " ".join(claim.words))
                    running[threads.submit(launcher.launch_runs, [(claim.number, claim.words)])] = claim
                others = [number for number in search.waits_for if number not in _numbers(running)]
                if not running and not (goes_on and others):
                    break
                if not running:
                    if others != awaited:
                        log.info("waiting for the trials %s of other workers", others)
                    awaited = others
                    time.sleep(_SECONDS_BETWEEN_LOOKS)
                    continue
                done, _ = wait(running, _SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
                for future in done:
                    claim = running.pop(future)
                    if future.exception() is not None:
                        error = error or future.exception()
                        continue  # the trial stays open, for the same command again
                    (status,) = future.result()
                    search.finish(claim, status)
                    if status.state == "stopped":
                        stopped.append(claim.number)
        if error is not None:
            raise error
        return stopped

    def _end(self, search: OptunaSearch, stopped: Sequence[int]) -> dict[str, Any]:
        result = search.report()
        path = search.folder / RESULT
        write_text(path, OmegaConf.to_yaml(OmegaConf.create(result)))
        self._runner.tabulate()
        failures = [f"  trial {number}: {reason}" for number, reason in search.failures.items()]
        failed = f"{len(failures)} runs of {search.folder} failed:\n" + "\n".join(failures) if failures else ""
        if best := result["best"]:
            log.info("best of %s: trial %d, %s %.6g", path, best["trial"], result["metric"], best["value"])
            log.info("  %s", " ".join(best["overrides"]))
        if len(failures) > self.max_failures:
            raise ValueError(f"{failed}\nmore than hydra.sweeper.max_failures={self.max_failures}: the search stopped")
        if stopped:
            log.warning("stopped at the trials %s; the same command again resumes", list(stopped))
        elif not best:
            raise ValueError(failed or f"no trial of {search.folder} ended with a value")
        if failures:
            log.error(failed)
        return result


def mode_of(metric: str, metrics: Mapping[str, DictConfig]) -> str | None:
    """`max` or `min`: which values of a metric, as validations log it, are the best; None if nothing says so.

    The metrics of the config are built and asked, so that a metric of a user's own is searched in its own direction.
    """
    from diptych.config.building import build
    from diptych.contracts.retrieval import EvaluationProtocol, MetricMeaning
    from diptych.results.meanings import known_meaning

    numbers = tuple(map(int, re.findall(r"\d+", metric)))
    protocol = EvaluationProtocol("search", 1, "", False, "{text}", "", numbers, numbers, numbers)
    meanings: dict[str, MetricMeaning] = {}
    for node in metrics.values():
        meanings |= build(node).meanings(protocol)
    found = (meanings.get(part) or known_meaning(part) for part in metric.split("/"))
    meaning = next(filter(None, found), None)
    return None if meaning is None or meaning.better is None else meaning.mode


def _numbers(running: Mapping[Any, Claim]) -> set[int]:
    return {claim.number for claim in running.values()}

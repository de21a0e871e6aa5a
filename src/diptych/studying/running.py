"""Runs the steps of a study: each as soon as those that its words name are done, as many at a time as there is room."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext

from diptych.storage.run_status import RunStatus, change_status, read_status
from diptych.studying.plan import Step, Study
from diptych.studying.servers import Servers
from diptych.studying.steps import Steps
from diptych.sweeping.cluster import Cluster, Run
from diptych.sweeping.local_cluster import LocalCluster
from diptych.sweeping.prepared_run import finish_run, in_a_line

log = logging.getLogger(__name__)


def run_steps(study: Study, steps: Steps, cluster: Cluster) -> dict[str, str]:
    """Runs what is not done yet, goes on with what was interrupted, tries again what failed. A step that fails stops
    those that need it, and no other. Returns what is not done, by the step's name, with the reason in a line.
    """
    return _Runner(study, steps, cluster).run()


def is_done(steps: Steps, step: Step) -> bool:
    """Whether an earlier start of the study has run the step to its end."""
    status = read_status(steps.folder(step.name))
    return step.kind != "serve" and status is not None and status.state == "done"


class _Runner:
    def __init__(self, study: Study, steps: Steps, cluster: Cluster) -> None:
        self._study, self._steps, self._cluster = study, steps, cluster
        self._here, self._one = cluster if cluster.on_this_machine else LocalCluster(), threading.Lock()
        self._servers = Servers(steps)
        self._work = {name: step for name, step in study.steps.items() if step.kind != "serve"}
        self._done = {name for name, step in self._work.items() if is_done(steps, step)}
        self._failed: dict[str, str] = {}
        self._started = len(self._done)

    def run(self) -> dict[str, str]:
        at_once = self._cluster.at_once or max(len(self._work), 1)
        running: dict[Future[RunStatus], Step] = {}
        log.info("%d of %d steps are done already", len(self._done), len(self._work))
        with ThreadPoolExecutor(at_once) as threads, self._servers:
            while True:
                begun = {step.name for step in running.values()}
                for step in self._ready(begun):
                    if len(running) < at_once and (future := self._submit(step, threads)) is not None:
                        running[future] = step
                if not running and not any(self._ready(set())):
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    self._note(running.pop(future), future.result())
                self._servers.keep(self._servers_needed())
        stopped = {name: self._why_not(name) for name in self._work if name not in self._done | self._failed.keys()}
        return self._failed | stopped

    def _ready(self, begun: set[str]) -> Iterator[Step]:
        """The steps that can start now, in the plan's order."""
        for name, step in self._work.items():
            if name not in self._done | self._failed.keys() | begun and self._can_start(step):
                yield step

    def _can_start(self, step: Step) -> bool:
        needed = [self._study.steps[name] for name in step.needs]
        return all(
            one.name in self._done if one.kind != "serve" else one.name not in self._failed and self._can_start(one)
            for one in needed
        )

    def _submit(self, step: Step, threads: ThreadPoolExecutor) -> Future[RunStatus] | None:
        """The step's run, begun; None where it, or a server that it needs, could not be."""
        asks = [self._study.steps[name] for name in self._servers_of(step)]
        for server in asks:
            try:
                self._servers.start(server)
            except ValueError as error:
                self._failed[server.name] = str(error)
                log.error("%s", error)
                return None
        # What asks a server must reach this machine's loopback, and pairs are written in a moment.
        cluster = self._here if asks or step.kind == "pairs" else self._cluster
        try:
            run = self._steps.prepared(step, cluster, self._servers.addresses)
        except ValueError as error:
            change_status(self._steps.folder(step.name), state="failed", error=str(error), overrides=step.words)
            self._failed[step.name] = str(error)
            log.error("%s: %s", step.name, error)
            return None
        self._started += 1
        log.info("step %d of %d: %s", self._started, len(self._work), step.name)
        return threads.submit(self._finish, step, cluster, run)

    def _finish(self, step: Step, cluster: Cluster, run: Run) -> RunStatus:
        """Runs the step to its end: those for this machine one at a time, where the others are sent to other ones."""
        with nullcontext() if cluster is self._cluster else self._one:
            since = time.monotonic()
            status = finish_run(cluster, run)
        if step.kind == "pairs" and status.state == "waiting":  # it keeps no status itself
            status = change_status(run.folder, state="done", seconds=time.monotonic() - since)
        return status

    def _note(self, step: Step, status: RunStatus) -> None:
        if status.state == "done":
            self._done.add(step.name)
        else:
            self._failed[step.name] = in_a_line(status)

    def _servers_of(self, step: Step) -> list[str]:
        """The servers that the step asks, those first that others of them ask."""
        names: list[str] = []
        for name in step.needs:
            if self._study.steps[name].kind == "serve":
                names += [*self._servers_of(self._study.steps[name]), name]
        return list(dict.fromkeys(names))

    def _servers_needed(self) -> set[str]:
        waiting = [step for name, step in self._work.items() if name not in self._done | self._failed.keys()]
        return {name for step in waiting for name in self._servers_of(step)}

    def _why_not(self, name: str) -> str:
        lost = [
            one for one in self._study.steps[name].needs if one in self._failed or one in self._work.keys() - self._done
        ]
        return f"not started: it needs {', '.join(lost)}"

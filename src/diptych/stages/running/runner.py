"""Runs a list of stages: what is done is kept, what is missing is done, what has other settings starts anew.

A stage's folder holds `records.jsonl` (or the store that the stage chose), `failures.jsonl`, `manifest.json`,
`times.json`, and what the stage writes for others. A kill at any moment loses at most the records that were being made;
the same command goes on, and ends with the same bytes, but for the times.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L

from diptych.contracts.pipelines import Failure, RecordSink, Result, SharedWork, Stage
from diptych.stages.running.lockstep import Lockstep
from diptych.stages.running.manifest import open_folder
from diptych.stages.running.progress import StageProgress
from diptych.stages.running.times import StageTimes
from diptych.storage.file_lock import lock_file, locked
from diptych.storage.record_log import RecordFile

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageRun:
    """A stage with its name in the pipeline, its folder, and its settings as the config gives them."""

    name: str
    stage: Stage
    folder: Path
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class StageCounts:
    """How a stage ended: `done` records, of which `kept` from earlier runs, and failures by reason."""

    done: int
    kept: int
    failed: Mapping[str, int]

    def describe(self) -> str:
        """For example `1,498 done (500 kept), 2 failed: unreadable 2`."""
        kept = f" ({self.kept:,} kept)" if self.kept else ""
        if not self.failed:
            return f"{self.done:,} done{kept}, none failed"
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(self.failed.items()))
        return f"{self.done:,} done{kept}, {sum(self.failed.values()):,} failed: {reasons}"


class PipelineRunner:
    """Runs stages one after the other. Stages with a model use the trainer's devices; on several processes each record
    is made by one of them, and the first process does everything else.
    """

    def __init__(self, trainer: L.Trainer, work_dir: Path, retry_failures: bool = False, show_progress: bool = True):
        self.trainer = trainer
        self.retry_failures = retry_failures
        self.show_progress = show_progress
        self.lockstep = Lockstep(trainer, work_dir)

    def run(self, runs: Sequence[StageRun]) -> dict[str, StageCounts]:
        """Brings every stage to its end; returns the counts by stage, on the first process.

        Raises:
            ValueError: a stage cannot start: its input is missing, or its folder is another's.
        """
        if self.lockstep.is_main:
            with self.lockstep.reporting_failure():
                return {run.name: self._run(run) for run in runs}
        for run in runs:
            ids = self.lockstep.wait_for_step()
            work = None if ids is None else run.stage.shared_work()
            if ids is not None and work is not None:
                self._share(run, work, ids)
                self.lockstep.together()
        return {}

    def _run(self, run: StageRun) -> StageCounts:
        stage, ids = run.stage, _unique(run)
        with locked(lock_file(run.folder)):  # of what pipelines share, one writes, and the others take it as it is then
            inputs, runtime = stage.input_files(), stage.runtime_settings
            manifest = open_folder(run.folder, run.name, run.settings, inputs, runtime)
            sink, failed = stage.open_sink(run.folder, None), _failures(run)
            earlier, failures = sink.done(), {} if self.retry_failures else failed.records()
            missing = [name for name in ids if name not in earlier and name not in failures]
            if manifest.complete_with(ids) and not missing and all(path.exists() for path in stage.output_files()):
                self.lockstep.next_step()
                return self._report(run, StageCounts(len(ids) - len(failures), len(ids) - len(failures), _by(failures)))
            manifest.begin()
            if self.retry_failures:
                failed.finish([])
            if missing:
                self._work(run, missing)
            done = sink.done()
            sink.finish(ids)
            failed.finish([name for name in ids if name not in done])
            failures = failed.records()
            _check_complete(run, ids, done, failures)
            stage.write_output(run.folder, [_failure(run, record) for record in failures.values()])
            manifest.complete(ids, len(ids) - len(failures), _by(failures))
        self.lockstep.next_step()
        kept = sum(name in earlier for name in ids)
        return self._report(run, StageCounts(len(ids) - len(failures), kept, _by(failures)))

    def _work(self, run: StageRun, missing: Sequence[str]) -> None:
        work = run.stage.shared_work()
        if work is not None:
            with StageTimes(run.folder) as times:
                work.prepare()
                self.lockstep.begin_work(missing)
                alone = self.trainer.world_size == 1
                self._share(run, work, missing, times.count if alone else None)
                self.lockstep.together()
                if not alone:  # what the others make is known when all are done
                    times.count(len(missing))
            return
        sink, failed = run.stage.open_sink(run.folder, None), _failures(run)
        with StageProgress(run.name, len(missing), self.show_progress) as progress, StageTimes(run.folder) as times:
            for result in run.stage.process(missing):
                _keep([result], sink, failed)
                progress.advance(1)
                times.count(1)

    def _share(
        self, run: StageRun, work: SharedWork, missing: Sequence[str], count: Callable[[int], None] | None = None
    ) -> None:
        part = self.trainer.global_rank if self.trainer.world_size > 1 else None
        sink, failed = run.stage.open_sink(run.folder, part), _failures(run, part)
        own = missing[self.trainer.global_rank :: self.trainer.world_size] or missing[:1]  # no process without work
        show = self.show_progress and self.trainer.global_rank == 0 and not work.shows_progress
        with StageProgress(run.name, len(own), show) as progress:

            def keep(results: Sequence[Result]) -> None:
                _keep(results, sink, failed)
                progress.advance(len(results))
                if count is not None:
                    count(len(results))

            work.run(self.trainer, run.folder, own, keep)

    def _report(self, run: StageRun, counts: StageCounts) -> StageCounts:
        log.info("%s: %s", run.name, counts.describe())
        if counts.failed:
            log.warning("%s: the reasons, record by record: %s", run.name, run.folder / "failures.jsonl")
        return counts


def _keep(results: Sequence[Result], sink: RecordSink, failed: RecordFile) -> None:
    records = [result for result in results if not isinstance(result, Failure)]
    failures = [result for result in results if isinstance(result, Failure)]
    if records:
        sink.append(records)
    if failures:
        failed.append({failed.key: f.record_id, "reason": f.reason, "message": f.message} for f in failures)


def _failures(run: StageRun, part: int | None = None) -> RecordFile:
    return RecordFile(run.folder, run.stage.record_key, part, "failures")


def _failure(run: StageRun, record: Mapping[str, str]) -> Failure:
    return Failure(record[run.stage.record_key], record["reason"], record["message"])


def _by(failures: Mapping[str, Mapping[str, str]]) -> dict[str, int]:
    return dict(sorted(Counter(record["reason"] for record in failures.values()).items()))


def _unique(run: StageRun) -> list[str]:
    ids = list(run.stage.ids())
    if not ids:
        raise ValueError(f"stage {run.name} has nothing to do: its input holds no record")
    if len(set(ids)) < len(ids):
        repeated = next(name for name, count in Counter(ids).items() if count > 1)
        raise ValueError(f"stage {run.name}: {run.stage.record_key} {repeated!r} occurs twice in its input")
    return ids


def _check_complete(run: StageRun, ids: Sequence[str], done: set[str], failures: Mapping[str, Any]) -> None:
    absent = [name for name in ids if name not in done and name not in failures]
    if absent:
        raise RuntimeError(f"stage {run.name} gave no result for {len(absent)} records, first {absent[0]!r}")

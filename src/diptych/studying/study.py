"""A planned study from its first step to its page: run, judged, written down."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import diptych
from diptych.storage.file_lock import RUN_PATIENCE, locked
from diptych.storage.run_status import read_status
from diptych.studying.judgement import judge
from diptych.studying.page import write_study
from diptych.studying.planning import PlannedStudy
from diptych.studying.result import StepRun, StudyResult
from diptych.studying.running import run_steps
from diptych.studying.servers import said_by
from diptych.studying.study_file import add_findings, fix_plan
from diptych.studying.values import Collected, collect

log = logging.getLogger(__name__)


def run_study(planned: PlannedStudy) -> tuple[StudyResult, dict[str, str]]:
    """Runs what is not done yet, judges, and writes the study's files; returns the result, and the arms that have none
    with the reason.

    Raises:
        ValueError: another process runs the study.
    """
    study, folder = planned.study, planned.folder
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock", RUN_PATIENCE, f"{folder}: another process runs this study; wait for it, or stop it"):
        content = fix_plan(folder, study)
        not_done = run_steps(study, planned.steps, planned.cluster)
        found = collect(study, planned.steps, not_done)
        for line in found.unlike():
            log.warning("the arms were not measured alike: %s", line)
        comparisons, verdicts = judge(found.values, study.control, study.metrics, study.hypotheses, found.meanings)
        add_findings(folder, content, found, comparisons, verdicts)
        result = StudyResult(
            study=study,
            plan_hash=content["plan_hash"],
            planned_at=content["planned_at"],
            command=planned.command,
            runs=_runs(planned, not_done),
            comparisons=comparisons,
            verdicts=verdicts,
            values=found.values,
            meanings=found.meanings,
            facts=_facts(found, planned),
            lost=found.lost,
        )
        log.info("%s", write_study(folder, result))
    return result, found.lost


def _runs(planned: PlannedStudy, not_done: Mapping[str, str]) -> dict[str, StepRun]:
    runs = {}
    for name, step in planned.study.steps.items():
        folder = planned.steps.folder(name)
        status = read_status(folder)
        state = "waiting" if status is None else "failed" if status.state == "failed" else "done"
        if name in not_done and state == "done":
            state = "failed"
        error = not_done.get(name, "") if status is None or not status.error else status.error
        seconds = None if status is None or step.kind == "serve" else status.seconds
        planted = said_by(folder) if step.kind == "serve" else ""
        runs[name] = StepRun(planned.steps.shown(step), folder, state, seconds, error, planted)
    return runs


def _facts(found: Collected, planned: PlannedStudy) -> dict[str, str]:
    statuses = [read_status(planned.steps.folder(name)) for name in planned.study.steps]
    devices = dict.fromkeys(status.device for status in statuses if status is not None and status.device)
    data = dict.fromkeys(facts["data"] for facts in found.facts.values())
    facts = {"data": ", ".join(data), "computed on": ", ".join(devices), "version": f"Diptych {diptych.__version__}"}
    if unlike := found.unlike():
        facts["arms not measured alike in"] = " | ".join(unlike)
    return {name: value for name, value in facts.items() if value}

"""The plan of a study as text, for `dry_run=true`."""

from __future__ import annotations

from collections.abc import Iterator

from diptych.storage.run_status import read_status
from diptych.studying.plan import Study
from diptych.studying.planning import PlannedStudy
from diptych.studying.running import is_done
from diptych.studying.steps import Steps
from diptych.studying.study_file import plan_hash


def shown_plan(planned: PlannedStudy) -> str:
    """Question, hypotheses, every arm's commands, how many steps there are and are done, and how long it will take."""
    return "\n".join([*_asked(planned), "", *_arms(planned), "", *_work(planned)]) + "\n"


def minutes_left(study: Study, steps: Steps) -> float | None:
    """What is still to be run, one step after another: where steps of the same arm, or kind, are done, as long as they
    took; else what the study's file expects. None where nobody knows.
    """
    places = {
        name: (arm.name, place)
        for arm in reversed(study.arms)
        for names in arm.steps.values()
        for place, name in enumerate(names)
    }
    took: dict[object, list[float]] = {}
    waiting = []
    for name, step in study.steps.items():
        if step.kind == "serve":
            continue
        status = read_status(steps.folder(name))
        if status is not None and is_done(steps, step):
            for key in (places[name], step.kind):
                took.setdefault(key, []).append(status.seconds)
        else:
            waiting.append((places[name], step.kind))
    known = [took.get(place) or took.get(kind) for place, kind in waiting]
    if all(known):
        return sum(sum(seconds) / len(seconds) for seconds in known if seconds) / 60
    return study.minutes


def _asked(planned: PlannedStudy) -> Iterator[str]:
    study = planned.study
    yield f"{study.name}{' (quick)' if study.quick else ''}: {study.question}"
    for number, one in enumerate(study.hypotheses, start=1):
        least = f"{100 * one.least:g} % of the control's mean" if one.relative else f"{one.least:g}"
        yield f"  {number}. {one.metric} of {one.arm} against {one.control}: {one.direction}, least {least}"
        if one.says:
            yield f"     {one.says}"
    for says in planned.left_out:
        yield f"  not asked at this size: {says}"
    for name, derived in study.derived.items():
        yield f"{name}, query by query: {derived}"
    size = ", ".join(f"{name} {value}" for name, value in study.size.items())
    yield f"control {study.control}; seeds {', '.join(map(str, study.seeds))}" + (f"; {size}" if size else "")
    yield f"limits: {study.limits}"
    yield f"plan {plan_hash(study)}"


def _arms(planned: PlannedStudy) -> Iterator[str]:
    study, steps = planned.study, planned.steps
    first, *others = study.seeds
    shared = set(study.shared())
    for arm in study.arms:
        yield f"{arm.name}{' (control)' if arm.name == study.control else ''}"
        for name in arm.steps[first]:
            step = study.steps[name]
            notes = ["shared"] * (name in shared) + ["done"] * is_done(steps, step)
            yield f"  {steps.shown(step)}" + (f"   [{', '.join(notes)}]" if notes else "")
    if others:
        yield f"and the same for seed{'s' * (len(others) > 1)} {', '.join(map(str, others))}"


def _work(planned: PlannedStudy) -> Iterator[str]:
    study, steps = planned.study, planned.steps
    work = [step for step in study.steps.values() if step.kind != "serve"]
    done = sum(is_done(steps, step) for step in work)
    yield f"{len(work)} steps, {len(study.shared())} of them shared by arms, {done} done already"
    minutes = minutes_left(study, steps)
    if done < len(work):
        yield (
            "how long it takes is not known" if minutes is None else f"about {minutes:.0f} minutes, one step at a time"
        )
    yield f"folder {planned.folder}"

"""What `diptych study NAME`, `diptych study all` and `diptych recycle` do."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diptych.studying.planning import PlannedStudy, folder_name, plan_study, studies_folder
from diptych.studying.reading import needs_of, read_study, study_files
from diptych.studying.shown_plan import shown_plan
from diptych.text.printable import printable

if TYPE_CHECKING:
    from diptych.studying.index_page import StudyRow

log = logging.getLogger(__name__)

_RECYCLE = "recycle"


def one_study(
    name: str, overrides: Sequence[str], quick: bool, dry_run: bool, out: Path | None, own: Path | None
) -> int:
    """Runs one study, or prints its plan; returns the exit status, 1 if an arm has no result."""
    return _run(plan_study(name, overrides, quick, out, own), dry_run)


def rounds_of_recycling(
    rounds: int, controls: bool, overrides: Sequence[str], dry_run: bool, out: Path | None, own: Path | None
) -> int:
    """Runs the study `recycle` for so many rounds, with as many random pairs beside each if `controls`, and writes and
    prints the table of its rounds; returns the exit status, 1 if an arm has no result.

    Raises:
        ValueError: the study has no such round, or cannot be planned.
    """
    arms = [arm.name for arm in read_study(_RECYCLE, [], quick=False, own=own)[0].arms]
    most = sum(name.startswith("recycled_") for name in arms)
    if not 1 <= rounds <= most:
        raise ValueError(f"rounds={rounds}: study/{_RECYCLE}.yaml has 1 to {most}; an arm [again: ...] adds one")
    kinds = ("recycled", "random") if controls else ("recycled",)
    kept = ["start", *(f"{kind}_{number}" for kind in kinds for number in range(1, rounds + 1))]
    words = [f"arms.{name}=null" for name in arms if name not in kept]
    words += [] if controls else ["control=start"]
    place = out or studies_folder() / f"{_RECYCLE}_{rounds}"
    return _run(plan_study(_RECYCLE, [*words, *overrides], False, place, own), dry_run, rounds=True)


def _run(planned: PlannedStudy, dry_run: bool, rounds: bool = False) -> int:
    """Runs the study, or prints its plan."""
    if dry_run:
        sys.stdout.write(printable(shown_plan(planned)))
        return 0
    from diptych.studying.page import FILE as PAGE  # here: what is wrong with a study is said before torch is imported
    from diptych.studying.rounds import round_lines, rounds_table, write_rounds
    from diptych.studying.study import run_study

    result, lost = run_study(planned)
    told = [f"{verdict.word}: {verdict.sentence}" for verdict in result.verdicts]
    told += [f"arm {arm} has no result: {why}" for arm, why in lost.items()]
    told += [f"what failed is tried again by the same command: {planned.command}"] if lost else []
    if rounds and (lines := round_lines(result)):
        told += ["", rounds_table(lines), "", f"the rounds: {write_rounds(planned.folder, lines)}"]
    sys.stdout.write(printable("\n".join([*told, f"everything is in {planned.folder}: {PAGE}"]) + "\n"))
    return 1 if lost else 0


def every_study(overrides: Sequence[str], quick: bool, dry_run: bool, out: Path | None, own: Path | None) -> int:
    """Runs all studies that need nothing but this machine, one after another, each in a folder of its own: those first
    that are done already, then the shortest. An index of all is written before the first and after each. Returns the
    exit status, 1 if one could not be run or an arm has no result.
    """
    place = (out or studies_folder()).absolute()
    planned, rows = _every_plan(overrides, quick, place, own)
    status, in_order = int(len(planned) < len(rows)), sorted(planned.values(), key=_first_to_run)
    if dry_run:
        for one in in_order:
            sys.stdout.write(printable(shown_plan(one)) + "\n")
        return status
    from diptych.studying.index_page import FILE, study_row, write_index
    from diptych.studying.page import FILE as PAGE
    from diptych.studying.study import run_study

    for one in in_order:
        name = one.study.name
        write_index(place, list(rows.values()))
        log.info("study %s", name)
        try:
            result, lost = run_study(one)
            rows[name], status = study_row(result, one.folder / PAGE, place), max(status, int(bool(lost)))
        except (ValueError, OSError) as error:
            rows[name], status = _failed(name, quick, error), 1
    write_index(place, list(rows.values()))
    sys.stdout.write(printable(f"all studies: {place / FILE}\n"))
    return status


def _every_plan(
    overrides: Sequence[str], quick: bool, place: Path, own: Path | None
) -> tuple[dict[str, PlannedStudy], dict[str, StudyRow]]:
    """The plans by name, without those of studies that need more than this machine, or are wrong; and a row for each
    that has not been run, or cannot be.
    """
    from diptych.studying.index_page import StudyRow

    planned: dict[str, PlannedStudy] = {}
    rows: dict[str, StudyRow] = {}
    for name in study_files(own):
        if needed := needs_of(name, own):
            sys.stdout.write(printable(f"left out: {name} needs {needed}\n"))
            continue
        try:
            one = planned[name] = plan_study(name, overrides, quick, place / folder_name(name, quick), own)
            rows[name] = StudyRow(name, one.study.question, _size(quick), problem=_not_run(one))
        except (ValueError, OSError) as error:
            rows[name] = _failed(name, quick, error)
    return planned, rows


def _first_to_run(planned: PlannedStudy) -> tuple[bool, float]:
    """What sorts studies: done already, then by the minutes that they take."""
    return not _is_done(planned), math.inf if planned.study.minutes is None else planned.study.minutes


def _is_done(planned: PlannedStudy) -> bool:
    from diptych.studying.running import is_done

    return all(is_done(planned.steps, step) for step in planned.study.steps.values() if step.kind != "serve")


def _not_run(planned: PlannedStudy) -> str:
    minutes = planned.study.minutes
    return "not run yet" + (f"; about {minutes:g} minutes, one step at a time" if minutes is not None else "")


def _size(quick: bool) -> str:
    return "quick" if quick else "full"


def _failed(name: str, quick: bool, error: Exception) -> StudyRow:
    from diptych.studying.index_page import StudyRow

    log.error("%s: %s", name, error)
    return StudyRow(name, "", _size(quick), problem=str(error))

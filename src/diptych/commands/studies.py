"""What `diptych study NAME`, `diptych study all` and `diptych recycle` do."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from diptych.studying.planning import PlannedStudy, folder_name, plan_study, studies_folder
from diptych.studying.reading import needs_of, read_study, study_files
from diptych.studying.shown_plan import shown_plan
from diptych.text.printable import printable

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
    """Runs all studies that need nothing but this machine, one after another, each in a folder of its own, and writes
    an index of them after each; returns the exit status, 1 if one could not be run or an arm has no result.
    """
    from diptych.studying.index_page import StudyRow, study_row, write_index
    from diptych.studying.page import FILE as PAGE
    from diptych.studying.study import run_study

    place = (out or studies_folder()).absolute()
    needs = {name: needs_of(name, own) for name in study_files(own)}
    for name, needed in needs.items():
        if needed:
            sys.stdout.write(printable(f"left out: {name} needs {needed}\n"))
    rows: list[StudyRow] = []
    status = 0
    for name in [name for name, needed in needs.items() if not needed]:
        folder = place / folder_name(name, quick)
        try:
            if dry_run:
                one_study(name, overrides, quick, dry_run, folder, own)
                sys.stdout.write("\n")
                continue
            log.info("study %s", name)
            result, lost = run_study(plan_study(name, overrides, quick, folder, own))
            rows.append(study_row(result, folder / PAGE, place))
            status = max(status, int(bool(lost)))
        except (ValueError, OSError) as error:
            log.error("%s: %s", name, error)
            rows.append(StudyRow(name, "", "quick" if quick else "full", problem=str(error)))
            status = 1
        index = write_index(place, rows)
    if rows:
        sys.stdout.write(printable(f"all studies: {index}\n"))
    return status

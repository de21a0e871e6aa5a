"""What `diptych study NAME` and `diptych study all` do."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from diptych.studying.planning import folder_name, plan_study, studies_folder
from diptych.studying.reading import needs_of, study_files
from diptych.studying.shown_plan import shown_plan
from diptych.text.printable import printable

log = logging.getLogger(__name__)


def one_study(
    name: str, overrides: Sequence[str], quick: bool, dry_run: bool, out: Path | None, own: Path | None
) -> int:
    """Runs one study, or prints its plan; returns the exit status, 1 if an arm has no result."""
    planned = plan_study(name, overrides, quick, out, own)
    if dry_run:
        sys.stdout.write(printable(shown_plan(planned)))
        return 0
    from diptych.studying.page import FILE as PAGE  # here: what is wrong with a study is said before torch is imported
    from diptych.studying.study import run_study

    result, lost = run_study(planned)
    told = [f"{verdict.word}: {verdict.sentence}" for verdict in result.verdicts]
    told += [f"arm {arm} has no result: {why}" for arm, why in lost.items()]
    told += [f"what failed is tried again by the same command: {planned.command}"] if lost else []
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

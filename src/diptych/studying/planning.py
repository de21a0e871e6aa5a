"""A study made ready to be run: read, composed, and checked as far as it can be before anything runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diptych.config import building
from diptych.config.override_words import in_shell, override
from diptych.studying.plan import Study
from diptych.studying.reading import read_study
from diptych.studying.steps import Steps
from diptych.studying.study_file import check_plan
from diptych.sweeping.cluster import Cluster


@dataclass(frozen=True)
class PlannedStudy:
    """A study with its place, ready to be run: `command` repeats it; `left_out` are hypotheses that this size does not
    ask, since it leaves out their arms.
    """

    study: Study
    steps: Steps
    cluster: Cluster
    folder: Path
    command: str
    left_out: Sequence[str]


def plan_study(
    name: str, overrides: Sequence[str], quick: bool = False, out: Path | None = None, own: Path | None = None
) -> PlannedStudy:
    """The study as its file and the overrides have it, every step composed; nothing is run or written.

    Raises:
        ValueError: the file, an override or a step is wrong, or another plan lies in the folder.
    """
    study, of_cluster, left_out = read_study(name, overrides, quick, own)
    folder = (out or studies_folder() / folder_name(name, quick)).absolute()
    check_plan(folder, study)
    steps, cluster = Steps(study, folder, own), building.build(of_cluster)
    steps.check(cluster)
    words = [name, *overrides, *(["quick=true"] if quick else []), *([] if out is None else [override("out", out)])]
    words += [] if own is None else [override("config_dir", own)]
    return PlannedStudy(study, steps, cluster, folder, in_shell("diptych", "study", *words), left_out)


def studies_folder() -> Path:
    """Where studies lie that are given no other place."""
    return Path(os.environ.get("DIPTYCH_RUNS", "runs")) / "studies"


def folder_name(name: str, quick: bool) -> str:
    """What the folder of a study is called among others."""
    return f"{name}_quick" if quick else name

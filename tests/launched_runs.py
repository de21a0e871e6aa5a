"""A place for a sweep's runs that does not train: each ends at once, as its seed says."""

from __future__ import annotations

from collections.abc import Mapping

from omegaconf import OmegaConf

from diptych.storage.run_status import Objective, change_status
from diptych.sweeping.cluster import Run


class InstantCluster:
    """Runs end with their seed's hundredth as value; those in `failing` fail, those in `dying` say nothing."""

    executed: list[str] = []  # the folders' names, over all instances of a test  # noqa: RUF012

    def __init__(
        self, jobs: int, gpus_per_job: None, failing: list[int] | None = None, dying: list[int] | None = None
    ) -> None:
        self.at_once = jobs
        self.failing, self.dying = failing or [], dying or []

    def overrides(self, chosen: Mapping[str, str]) -> list[str]:
        return ["trainer.log_every_n_steps=7"]

    def execute(self, run: Run) -> str | None:
        self.executed.append(run.folder.name)
        seed = OmegaConf.load(run.folder / "config.yaml").seed
        if seed in self.dying:
            change_status(run.folder, state="running", step=3)
            return "killed by SIGKILL"
        if seed in self.failing:
            change_status(run.folder, state="failed", error="ValueError: a first line\nno data")
            return "ended with status 1"
        change_status(run.folder, state="done", step=5, objective=Objective("val/recall_at_1", "max", seed / 100))
        return None

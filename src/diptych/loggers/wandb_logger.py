"""Weights & Biases, with a stable run id, and without the power to end a run."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import DummyExperiment
from lightning.pytorch.utilities import rank_zero_only

from diptych.extras import require
from diptych.storage.whole import write_file

log = logging.getLogger(__name__)


class ForgivingWandbLogger(WandbLogger):
    """A WandbLogger whose run id is kept in `folder/wandb_id`, so that a resumed run continues there.

    WANDB_MODE of the environment (`disabled`, `online`) counts before `offline`. Any failure of the tracker (network,
    disk, account) is logged once; from then on nothing more is sent.
    """

    writes: ClassVar[Mapping[str, str]] = {"folder": "wandb_id"}

    def __init__(self, folder: str, project: str = "diptych", name: str | None = None, offline: bool = True) -> None:
        require("wandb", "choose logger=none")
        self.failed = False
        offline = offline and "WANDB_MODE" not in os.environ  # Lightning would set it
        super().__init__(
            project=project, name=name, save_dir=folder, id=_stable_id(Path(folder)), resume="allow", offline=offline
        )

    @property
    def experiment(self) -> Any:
        """The wandb run, or a stand-in that ignores everything once the tracker has failed."""
        if self.failed:
            return DummyExperiment()
        try:
            return super().experiment
        except Exception as error:
            self._give_up(error)
            return DummyExperiment()

    @rank_zero_only
    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Sends the metrics, or notes that it cannot."""
        self._attempt(lambda: super(ForgivingWandbLogger, self).log_metrics(metrics, step))

    @rank_zero_only
    def log_hyperparams(self, params: Any) -> None:
        """Sends the configuration, or notes that it cannot."""
        self._attempt(lambda: super(ForgivingWandbLogger, self).log_hyperparams(params))

    @rank_zero_only
    def log_table(self, *args: Any, **kwargs: Any) -> None:
        """Sends a table, or notes that it cannot."""
        self._attempt(lambda: super(ForgivingWandbLogger, self).log_table(*args, **kwargs))

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Closes the run, or notes that it cannot."""
        self._attempt(lambda: super(ForgivingWandbLogger, self).finalize(status))

    def _attempt(self, send: Callable[[], None]) -> None:
        if self.failed:
            return
        try:
            send()
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.failed = True
        log.warning("wandb failed (%s); the run continues without it, metrics.csv has everything", error)


def _stable_id(folder: Path) -> str | None:
    """The id in the folder, made by rank 0, the only one that sends; another rank may find none yet."""
    path = folder / "wandb_id"
    if not path.exists() and rank_zero_only.rank == 0:  # type: ignore[attr-defined]  # set out of mypy's sight
        write_file(path, secrets.token_hex(4).encode())
    return path.read_text().strip() if path.exists() else None

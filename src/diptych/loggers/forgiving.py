"""A tracker without the power to end a run: what all of them share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ClassVar

from lightning.pytorch.loggers.logger import DummyExperiment
from lightning.pytorch.utilities import rank_zero_only

log = logging.getLogger(__name__)


class Forgiving:
    """Comes before a logger of Lightning in the bases of a class. Any failure of the `tracker` (network, disk, account)
    is logged once; from then on nothing more is sent, and the run goes on.
    """

    tracker: ClassVar[str]
    failed = False

    @property
    def experiment(self) -> Any:
        """The tracker's run, or a stand-in that ignores everything once the tracker has failed."""
        parent: Any = super()
        if self.failed:
            return DummyExperiment()
        try:
            experiment = parent.experiment
            if rank_zero_only.rank == 0:  # type: ignore[attr-defined]  # set out of mypy's sight; others hold stand-ins
                self.note_run(experiment)
            return experiment
        except Exception as error:
            self._give_up(error)
            return DummyExperiment()

    def note_run(self, experiment: Any) -> None:
        """What is to be kept of a run that has started, so that a resumed one continues there; as it is, nothing."""

    @rank_zero_only
    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Sends the metrics, or notes that it cannot."""
        parent: Any = super()
        self._attempt(lambda: parent.log_metrics(metrics, step))

    @rank_zero_only
    def log_hyperparams(self, params: Any) -> None:
        """Sends what the run is, or notes that it cannot."""
        parent: Any = super()
        self._attempt(lambda: parent.log_hyperparams(params))

    @rank_zero_only
    def save(self) -> None:
        """Sends what waits, or notes that it cannot."""
        parent: Any = super()
        self._attempt(parent.save)

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """Closes the run, or notes that it cannot."""
        parent: Any = super()
        self._attempt(lambda: parent.finalize(status))

    def _attempt(self, send: Callable[[], None]) -> None:
        if self.failed:
            return
        try:
            send()
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.failed = True
        reason = str(error)  # of some, a page
        log.warning(
            "%s failed (%s); the run continues without it, its own files have everything", self.tracker, reason[:300]
        )

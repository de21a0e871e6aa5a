"""A validation at least once in every pass over the training data."""

from __future__ import annotations

import lightning as L

from diptych.contracts.news import CaptionData
from diptych.contracts.retrieval import RetrievalData


class ValidateEveryPass(L.Callback):
    """Where a pass has fewer batches than `trainer.val_check_interval`, validates after each pass instead, as the
    published good4cir recipe does: early stopping counts validations.
    """

    def on_fit_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Shortens the interval, which Lightning reads after this."""
        data: RetrievalData | CaptionData = trainer.datamodule  # type: ignore[attr-defined]  # set out of mypy's sight
        interval = trainer.val_check_interval
        if isinstance(interval, int):
            trainer.val_check_interval = max(1, min(interval, int(data.epoch_batches)))

"""A validation at least once in every pass over the training data."""

from __future__ import annotations

import lightning as L

from diptych.contracts.retrieval import RetrievalData


class ValidateEveryPass(L.Callback):
    """Where a pass has fewer batches than `trainer.val_check_interval`, validates after each pass instead, as the
    published good4cir recipe does: early stopping counts validations. For retrieval: what a pass of packed captions is
    becomes known only later.
    """

    def on_fit_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Shortens the interval, which Lightning reads after this. ValueError for data of another kind."""
        data: RetrievalData = trainer.datamodule  # type: ignore[attr-defined]  # set out of mypy's sight
        if data.kind != "retrieval":
            raise ValueError(
                "callbacks.validate_every_pass is for retrieval: leave it out, and set trainer.val_check_interval"
            )
        interval = trainer.val_check_interval
        if isinstance(interval, int):
            trainer.val_check_interval = max(1, min(interval, int(data.epoch_batches)))

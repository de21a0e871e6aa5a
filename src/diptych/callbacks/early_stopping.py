"""Lightning's early stopping, of validations, and of runs that are resumed."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping as LightningsEarlyStopping


class EarlyStopping(LightningsEarlyStopping):
    """Ends the training after `patience` validations in which `monitor` was not better by more than `min_delta`; `mode`
    is `max` or `min`, where its best value lies.

    A run that was stopped so, and is resumed because its evaluation was cut short, is not trained on.
    """

    def __init__(self, monitor: str, mode: str, patience: int, min_delta: float = 0.0) -> None:
        super().__init__(
            monitor, min_delta=min_delta, patience=patience, mode=mode, check_on_train_epoch_end=False, verbose=False
        )

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Stops again where the run had been stopped."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True

"""One progress bar for the whole run, in steps."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.callbacks import TQDMProgressBar


class RunProgressBar(TQDMProgressBar):
    """Lightning's bar without its epoch number: one Lightning epoch is the whole run (see CIRDataModule)."""

    def on_train_epoch_start(self, trainer: L.Trainer, *args: object) -> None:
        """Starts the bar at the step that the run continues from."""
        super().on_train_epoch_start(trainer, *args)
        self.train_progress_bar.set_description("Training")

    def get_metrics(self, trainer: L.Trainer, module: L.LightningModule) -> dict[str, int | str | float | dict]:
        """The metrics on the bar, without Lightning's version number, and the latest loss that has come to the host."""
        items = super().get_metrics(trainer, module)
        items.pop("v_num", None)
        # Not by `log(prog_bar=True)`, for which Lightning waits for the GPU in every step.
        latest = getattr(module, "latest_loss", None)
        return items if latest is None or not trainer.training else {**items, "loss": f"{latest.look():.3f}"}

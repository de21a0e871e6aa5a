"""TensorBoard, with one folder for a run, however often it is resumed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from diptych.extras import require
from diptych.loggers.forgiving import Forgiving


class ForgivingTensorBoardLogger(Forgiving, TensorBoardLogger):
    """Writes event files into `folder/tensorboard`; `tensorboard --logdir runs` shows all runs. A resumed run writes
    there too, and TensorBoard forgets what was logged after the step that it continues from.
    """

    tracker = "TensorBoard"
    writes: ClassVar[Mapping[str, str]] = {"folder": "tensorboard/events.*"}

    def __init__(self, folder: str) -> None:
        require("tensorboard", "choose logger=none")
        super().__init__(save_dir=folder, name="", version="tensorboard", default_hp_metric=False)

    def resume_from(self, step: int) -> None:
        """To be called before anything is logged: what was logged from `step` on counts no more."""
        self._kwargs["purge_step"] = step

    @rank_zero_only
    def log_hyperparams(self, params: Any, metrics: Any = None, step: int | None = None) -> None:
        """Writes them as a text, `about`: TensorBoard's own table wants a metric with them."""
        lines = "\n".join(f"    {name}: {value}" for name, value in dict(params).items())
        self._attempt(lambda: self.experiment.add_text("about", lines))

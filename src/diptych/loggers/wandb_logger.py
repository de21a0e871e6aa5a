"""Weights & Biases, with a stable run id, and without the power to end a run."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from diptych.extras import require
from diptych.loggers.forgiving import Forgiving
from diptych.storage.whole import write_file


class ForgivingWandbLogger(Forgiving, WandbLogger):
    """A WandbLogger whose run id is kept in `folder/wandb_id`, so that a resumed run continues there.

    WANDB_MODE of the environment (`disabled`, `online`) counts before `offline`.
    """

    tracker = "wandb"
    writes: ClassVar[Mapping[str, str]] = {"folder": "wandb_id"}

    def __init__(self, folder: str, project: str = "diptych", name: str | None = None, offline: bool = True) -> None:
        require("wandb", "choose logger=none")
        offline = offline and "WANDB_MODE" not in os.environ  # Lightning would set it
        super().__init__(
            project=project, name=name, save_dir=folder, id=_stable_id(Path(folder)), resume="allow", offline=offline
        )

    @rank_zero_only
    def log_table(self, *args: Any, **kwargs: Any) -> None:
        """Sends a table, or notes that it cannot."""
        self._attempt(lambda: super(ForgivingWandbLogger, self).log_table(*args, **kwargs))


def _stable_id(folder: Path) -> str | None:
    """The id in the folder, made by rank 0, the only one that sends; another rank may find none yet."""
    path = folder / "wandb_id"
    if not path.exists() and rank_zero_only.rank == 0:  # type: ignore[attr-defined]  # set out of mypy's sight
        write_file(path, secrets.token_hex(4).encode())
    return path.read_text().strip() if path.exists() else None

"""From a checkpoint to the objects that it describes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from omegaconf import DictConfig, OmegaConf

from diptych.config import building, checking
from diptych.config.earlier_configs import upgraded
from diptych.parallel import checkpoints
from diptych.parallel.sharded_checkpoints import is_sharded


def config_of(checkpoint: dict[str, Any]) -> DictConfig:
    """The composed, unresolved config of the run that wrote the checkpoint, in this version's names. ValueError where
    it is no config.
    """
    config = OmegaConf.create(checkpoints.config_text(checkpoint))
    if not isinstance(config, DictConfig):
        raise ValueError("the config in the checkpoint is a list, not the settings of a run")
    return upgraded(config)


def build_trained(
    trained: DictConfig, data: DictConfig, data_dir: str
) -> tuple[L.LightningDataModule, L.LightningModule]:
    """The datamodule of `data` and the system that a checkpoint's config describes, both without having read or loaded
    anything.

    Raises:
        ValueError: they do not fit each other, or the config names what a checkpoint may not.
    """
    described = {
        "system": trained.system,
        "data": data,
        "data_dir": data_dir,
        "seed": trained.seed,
        "trainer": {"max_steps": trained.trainer.max_steps},  # the scheduler's length is an interpolation of it
    }
    composed = OmegaConf.create(described)
    checking.check_data_fits_system(composed, trusted=False)
    merged = checking.check_untrusted(composed)
    checking.check_data_root(merged)
    return building.build_data(merged.data), building.build(merged.system)


def checkpoint_path(given: str | Path) -> Path:
    """The checkpoint's file; of a run directory its best one."""
    path = Path(given)
    if path.is_dir() and not is_sharded(path):
        path = path / "checkpoints" / "best.ckpt"
    return path

"""From a checkpoint to the objects that it describes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import lightning as L
from omegaconf import DictConfig, OmegaConf

from diptych.config import building, checking
from diptych.config.earlier_configs import upgraded
from diptych.config.plain_config import leaves, plain_section
from diptych.parallel import checkpoints
from diptych.parallel.sharded_checkpoints import is_sharded

log = logging.getLogger(__name__)


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
    building.settle(merged, "system")
    return building.build_data(merged.data), building.build(merged.system)


def with_model_of_checkpoint(config: DictConfig) -> DictConfig:
    """The config of a training; where it names no class of a model (`system/model=checkpoint`) with that of the
    checkpoint in `init_from`, changed by the single settings that the config has.

    Raises:
        ValueError: `init_from` is not set, its checkpoint cannot be read, or names what a checkpoint may not.
    """
    own = config.system.get("model")
    if own is None or "_target_" in own:  # a system of somebody's own may have no model
        return config
    if config.init_from is None:
        raise ValueError(
            "system/model=checkpoint is the model of the checkpoint that a run starts from: name it, init_from=FOLDER"
        )
    model = config_of(checkpoints.load(checkpoint_path(config.init_from), weights_alone=True)).system.model
    checking.check_untrusted(OmegaConf.create({"system": {"model": model}}))
    whole = OmegaConf.create(plain_section(config, resolve=False))
    whole.system.model = OmegaConf.merge(model, own)
    return whole


def load_first_weights(system: L.LightningModule, config: DictConfig) -> None:
    """Puts the weights of the checkpoint in `init_from`, a file or a run's folder, into the system of a new run. Logs
    a warning with the settings of the model that were others there: not all of them show in the weights.

    Raises:
        ValueError: it cannot be read, or the weights are another model's; names the settings that differ.
    """
    path = checkpoint_path(config.init_from)
    checkpoint = checkpoints.load(path, weights_alone=True)
    there, here = (
        dict(leaves(plain_section(of.system, resolve=False).get("model"), "system.model"))
        for of in (config_of(checkpoint), config)
    )
    unlike = [name for name, value in here.items() if not isinstance(value, dict) and there.get(name, value) != value]
    try:
        checkpoints.load_weights(system, checkpoint, path)
    except ValueError as error:
        differing = f"; these settings are others there: {', '.join(unlike)}" if unlike else ""
        raise ValueError(
            f"init_from: {error}{differing}. system/model=checkpoint takes the model as it was trained"
        ) from error
    if unlike:
        told = ", ".join(f"{name}={here[name]} ({there[name]} there)" for name in unlike)
        log.warning("init_from: the model that these weights are of had other settings: %s", told)


def checkpoint_path(given: str | Path) -> Path:
    """The checkpoint's file; of a run directory its best one."""
    path = Path(given)
    if path.is_dir() and not is_sharded(path):
        path = path / "checkpoints" / "best.ckpt"
    return path

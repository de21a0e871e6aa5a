"""From configs to objects."""

from __future__ import annotations

import logging
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from diptych.config.checking import SECTION_KEYS
from diptych.extras import missing_extra

log = logging.getLogger(__name__)


def build(node: DictConfig, **arguments: Any) -> Any:
    """The object that a config describes, with its parts; the config path is the constructor path. `arguments` are
    further ones, which no config can hold. A part's ValueError comes out as it is, and so does that of a missing extra.
    """
    try:
        return hydra.utils.instantiate(node, **arguments)
    except HydraException as error:
        missing = missing_extra(error)
        if missing is not None:
            raise missing from error
        cause = error.__cause__
        if isinstance(cause, (ValueError, OSError)):
            raise cause from None
        raise


def build_data(node: DictConfig) -> Any:
    """As `build`, of the data section, without its keys that only other settings refer to (`data.root`)."""
    plain = OmegaConf.to_container(node, resolve=True)
    own = {key: value for key, value in plain.items() if f"data.{key}" not in SECTION_KEYS}
    return build(OmegaConf.create({"data": own}).data)  # below its name, which errors then tell


def build_trainer(node: DictConfig, **arguments: Any) -> Any:
    """As `build`, of a Trainer for `evaluate.py` or a pipeline; ValueError when it would start processes of its own in
    a sweep: Lightning gives them the sweep's command line. (`train.py -m` has a launcher for that.)
    """
    trainer = build(node, **arguments)
    in_sweep = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    if in_sweep and trainer.world_size > 1 and not trainer.strategy.cluster_environment.creates_processes_externally:
        raise ValueError(
            f"-m with a trainer of {trainer.world_size} processes: call the command once for each, without -m, or set "
            "trainer.devices=1"
        )
    return trainer

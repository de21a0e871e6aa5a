"""Configs that earlier versions left, in checkpoints and run folders, as this version reads them."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from diptych.storage.moved_names import with_moved_names


def upgraded(config: DictConfig) -> DictConfig:
    """A config of any earlier version as this version would have composed it, unresolved; a present one is returned
    as it is.
    """
    return OmegaConf.create(with_moved_names(OmegaConf.to_container(config, resolve=False)))

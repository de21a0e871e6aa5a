"""Sections of a config as plain containers, and the overrides that made it."""

from __future__ import annotations

from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf


def plain_section(section: DictConfig, resolve: bool = True) -> dict[str, Any]:
    """A section as dicts and lists, its interpolations resolved unless `resolve` is False."""
    # to_container returns a dict of a DictConfig, and the keys of our configs are texts; its type says neither
    return cast("dict[str, Any]", OmegaConf.to_container(section, resolve=resolve))


def typed_overrides() -> list[str]:
    """The overrides of the command line that Hydra has read, but for its own (`hydra.*`), as they were typed: what
    looks like an interpolation in them is left alone.
    """
    return cast("list[str]", OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False))

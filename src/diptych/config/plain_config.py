"""Sections of a config as plain containers, and the overrides that made it."""

from __future__ import annotations

from collections.abc import Iterator
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


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every (path, value) of a plain container, inner nodes too."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        name = f"{path}.{key}" if path else str(key)
        yield name, value
        yield from leaves(value, name)

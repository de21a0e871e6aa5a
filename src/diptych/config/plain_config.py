"""Sections of a config as plain containers."""

from __future__ import annotations

from typing import Any, cast

from omegaconf import DictConfig, OmegaConf


def plain_section(section: DictConfig, resolve: bool = True) -> dict[str, Any]:
    """A section as dicts and lists, its interpolations resolved unless `resolve` is False."""
    # to_container returns a dict of a DictConfig, and the keys of our configs are texts; its type says neither
    return cast("dict[str, Any]", OmegaConf.to_container(section, resolve=resolve))

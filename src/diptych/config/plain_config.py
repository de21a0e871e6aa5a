"""Sections of a config as plain containers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf


def plain_section(section: DictConfig, resolve: bool = True) -> dict[str, Any]:
    """A section as dicts and lists, its interpolations resolved unless `resolve` is False."""
    # to_container returns a dict of a DictConfig, and the keys of our configs are texts; its type says neither
    return cast("dict[str, Any]", OmegaConf.to_container(section, resolve=resolve))


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every (path, value) of a plain container, inner nodes too."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        name = f"{path}.{key}" if path else str(key)
        yield name, value
        yield from leaves(value, name)

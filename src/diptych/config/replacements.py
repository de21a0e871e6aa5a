"""What an evaluation puts in the place of a checkpoint's settings: how captions are written, and what is measured."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from diptych.config.plain_config import plain_section

# Where each lies in the config of a run: the section, and the place in it.
_PLACES = {
    "generation": ("system", "generator.settings"),
    "metrics": ("system", "metrics"),
    "prompt": ("data", "preparation.prompt"),
    "evidence": ("data", "preparation.selector"),
}


def replaced(
    system: DictConfig, data: DictConfig, given: Mapping[str, Any], whole: Collection[str] = ()
) -> tuple[DictConfig, DictConfig, dict[str, Any]]:
    """Copies of the sections with the settings in `given` (by the names above; None where nothing is said) in place of
    their own, and what was replaced.

    A section that names its class, or is listed in `whole`, replaces the other as it is: not one key of the former is
    left. Otherwise its keys replace those of the same name.

    Raises:
        ValueError: the run has no such settings, as generation of a retrieval model.
    """
    sections = {"system": _copy(system), "data": _copy(data)}
    said: dict[str, Any] = {}
    for name, value in given.items():
        if value is None:
            continue
        section, place = _PLACES[name]
        if OmegaConf.select(sections[section], place) is None:
            raise ValueError(f"{name}: this checkpoint has no {section}.{place} to replace")
        whole_one = name in whole or "_target_" in value
        OmegaConf.update(sections[section], place, value, merge=not whole_one)
        said[name] = sorted(value) if name == "metrics" else value
    return sections["system"], sections["data"], said


def _copy(section: DictConfig) -> DictConfig:
    copied = OmegaConf.create(plain_section(section, resolve=False))
    OmegaConf.set_struct(copied, False)
    return copied

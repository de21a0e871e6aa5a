"""What an evaluation puts in the place of a checkpoint's settings: how captions are written, and what is measured."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from diptych.config.checking import locate_trusted, suggest
from diptych.config.folder import CONFIG_FOLDER
from diptych.config.plain_config import plain_section

# Where each lies in the config of a run: the section, and the place in it.
_PLACES = {
    "generation": ("system", "generator.settings"),
    "metrics": ("system", "metrics"),
    "prompt": ("data", "preparation.prompt"),
    "evidence": ("data", "preparation.selector"),
}
_GROUPS = {"generation": "system/generation", "prompt": "prompt", "evidence": "data/evidence"}


def replaced(
    system: DictConfig, data: DictConfig, given: Mapping[str, Any], whole: Collection[str] = ()
) -> tuple[DictConfig, DictConfig, dict[str, Any]]:
    """Copies of the sections with the settings in `given` (by the names above; None where nothing is said) in place of
    their own, and what was replaced.

    A section that names its class, or is listed in `whole`, replaces the other as it is: not one key of the former is
    left. Otherwise its keys replace those of the same name.

    Raises:
        ValueError: the run has no such settings, as generation of a retrieval model; or no such key in them.
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
        if not whole_one:
            _check_keys(name, value, plain_section(OmegaConf.select(sections[section], place), resolve=False))
        OmegaConf.update(sections[section], place, value, merge=not whole_one)
        said[name] = sorted(value) if name == "metrics" else value
    return sections["system"], sections["data"], said


def _check_keys(path: str, given: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """ValueError unless each key of `given` is one of `own`, or an argument of the class that it names, and stands for
    a setting where there is a setting, for a section where there is a section.
    """
    arguments: Mapping[str, inspect.Parameter] = {}
    if "_target_" in own:
        arguments = inspect.signature(locate_trusted(path, str(own["_target_"]))).parameters
    for key, value in given.items():
        full, there = f"{path}.{key}", own.get(key)
        if key not in own and key not in arguments:
            known = [str(name) for name in dict.fromkeys([*own, *arguments]) if not str(name).startswith("_")]
            raise ValueError(f"{full}: this checkpoint has no such setting.{suggest(key, known)}")
        if isinstance(value, Mapping) and isinstance(there, Mapping):
            if "_target_" not in value:
                _check_keys(full, value, there)
        elif isinstance(value, Mapping) and "_target_" not in value:
            keys = ", ".join(f"{full}.{inner}" for inner in value)
            found = "there is none" if there is None else f"it is {there}"
            raise ValueError(f"{keys}: {full} has no keys in this checkpoint, {found}.{_configs_with(full)}")
        elif isinstance(there, Mapping) and not isinstance(value, Mapping):
            can_be_left_out = key in arguments and arguments[key].default is None
            if value is not None or not can_be_left_out:
                inner = ", ".join(f"{full}.{name}" for name in there if name != "_target_")
                raise ValueError(f"{full}={value}: it is a section; set single keys of it: {inner}")


def _configs_with(path: str) -> str:
    """A sentence that offers the shipped configs in which there is a section at the path, `evidence.published`; empty
    if there is none.
    """
    name, _, place = path.partition(".")
    files = sorted((CONFIG_FOLDER / _GROUPS[name]).glob("*.yaml"))
    having_it = [file.stem for file in files if OmegaConf.is_dict(OmegaConf.select(OmegaConf.load(file), place))]
    chosen = " or ".join(f"{name}={config}" for config in having_it)
    return f" It is a section in {chosen}: choose that as well" if having_it else ""


def _copy(section: DictConfig) -> DictConfig:
    copied = OmegaConf.create(plain_section(section, resolve=False))
    OmegaConf.set_struct(copied, False)
    return copied

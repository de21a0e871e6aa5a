"""What an evaluation puts in the place of a checkpoint's settings: how captions are written, and what is measured."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from diptych.config.checking import locate_trusted, suggest
from diptych.config.folder import CONFIG_FOLDER
from diptych.config.plain_config import plain_section

# Where each lies in the config of a run: the section, and the place in it.
PLACES = {
    "generation": ("system", "generator.settings"),
    "claim_checker": ("system", "generator.claim_checker"),
    "metrics": ("system", "metrics"),
    "prompt": ("data", "preparation.prompt"),
    "evidence": ("data", "preparation.selector"),
    "length": ("data", "preparation.length"),
    "drafts": ("data", "preparation.drafts"),
}
_GROUPS = {
    "generation": "system/generation",
    "prompt": "prompt",
    "evidence": "data/evidence",
    "length": "data/length",
    "drafts": "data/drafts",
}
_OPTIONAL = ("length", "drafts")  # of which a checkpoint may have none


class Replaced(NamedTuple):
    """The sections of a run with replacements in them. `said` are these by name, `before` what the checkpoint has in
    their place: of a section that was replaced as a whole all of it, else the same keys, None where there is none.
    """

    system: DictConfig
    data: DictConfig
    said: dict[str, Any]
    before: dict[str, Any]

    def origin(self) -> dict[str, Any]:
        """As metrics.json has it; nothing where nothing was replaced."""
        return {"replaced": self.said, "replaced_from": self.before} if self.said else {}


def replaced(system: DictConfig, data: DictConfig, given: Mapping[str, Any], **context: Any) -> Replaced:
    """Copies of the sections with the settings in `given` (by the names above; None where nothing is said) in place of
    their own. `context` is what the sections refer to beside each other (`data_dir`, `seed`).

    A section that names its class, and metrics that all do, replace the other as they are: not one key of the former is
    left. Otherwise its keys replace those of the same name. Of a key that the checkpoint leaves to its class, `before`
    has the default.

    Raises:
        ValueError: the run has no such settings, as generation of a retrieval model, or no such metric or key in them.
    """
    sections = {"system": _copy(system), "data": _copy(data)}
    placed = {name: (*PLACES[name], value) for name, value in given.items() if value is not None}
    for name, (section, place, value) in placed.items():
        own = OmegaConf.select(sections[section], place)
        whole = _is_whole(name, value)
        if own is None and not (name in _OPTIONAL and whole and "preparation" in sections["data"]):
            advice = f"; name a whole one, {name}=NAME" if name in _OPTIONAL else ""
            raise ValueError(f"{name}: this checkpoint has no {section}.{place} to replace{advice}")
        if name == "metrics" and not whole:
            _check_metrics(value, own)
        if not whole:
            _check_keys(name, value, plain_section(own, resolve=False))
        OmegaConf.update(sections[section], place, value, merge=not whole)
    before = OmegaConf.create({"system": _copy(system), "data": _copy(data), **context})
    after = OmegaConf.create({**sections, **context})
    return Replaced(
        **sections,
        said={name: _shown(name, OmegaConf.select(after, f"{s}.{place}"), v) for name, (s, place, v) in placed.items()},
        before={
            name: _shown(name, OmegaConf.select(before, f"{s}.{place}"), v) for name, (s, place, v) in placed.items()
        },
    )


@contextmanager
def errors_in_typed_words(names: Iterable[str]) -> Iterator[None]:
    """ValueErrors of the block name keys as they were typed: `generation.temperature`, where the config of the run has
    `system.generator.settings.temperature`; for these `names`.
    """
    try:
        yield
    except ValueError as error:
        text = str(error)
        for name in names:
            text = text.replace(".".join(PLACES[name]), name)
        if text == str(error):
            raise
        raise ValueError(text) from error


def _is_whole(name: str, value: Mapping[str, Any]) -> bool:
    """Whether a config stands for itself: it names its class; of metrics, each does."""
    parts = value.values() if name == "metrics" else [value]
    return all(isinstance(part, Mapping) and "_target_" in part for part in parts)


def _check_metrics(value: Mapping[str, Any], own: DictConfig) -> None:
    unknown = next((name for name in value if name not in own), None)
    if unknown is not None:
        raise ValueError(
            f"metrics.{unknown}: this checkpoint measures {', '.join(map(str, own))}; metrics=[{unknown},...] measures "
            "others"
        )


def _check_keys(path: str, given: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """ValueError unless each key of `given` is one of `own`, or an argument of the class that it names, and stands for
    a setting where there is a setting, for a section where there is a section.
    """
    arguments: Mapping[str, inspect.Parameter] = {}
    if "_target_" in own:
        arguments = inspect.signature(locate_trusted(path, str(own["_target_"]), within_own=True)).parameters
    for key, value in given.items():
        full, there = f"{path}.{key}", own.get(key)
        if key not in own and key not in arguments:
            known = [str(name) for name in dict.fromkeys([*own, *arguments]) if not str(name).startswith("_")]
            raise ValueError(f"unknown key {full!r}.{suggest(key, known)}")
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
    files = sorted((CONFIG_FOLDER / _GROUPS[name]).glob("*.yaml")) if name in _GROUPS else []
    having_it = [file.stem for file in files if OmegaConf.is_dict(OmegaConf.select(OmegaConf.load(file), place))]
    chosen = " or ".join(f"{name}={config}" for config in having_it)
    return f" It is a section in {chosen}: choose that as well" if having_it else ""


def _shown(name: str, found: Any, given: Mapping[str, Any]) -> Any:
    """What is to be said of the config that was found where `given` stands, or is to stand."""
    plain = OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found
    if plain is None or not _is_whole(name, given):
        return _of_same_keys(plain, given)
    return sorted(plain) if name == "metrics" else plain


def _of_same_keys(plain: Any, given: Any) -> Any:
    if not isinstance(given, Mapping):
        return plain
    return {key: _of_same_keys(_setting(plain, key), given[key]) for key in given}


def _setting(plain: Any, key: str) -> Any:
    """What a plain config says under a key; where it leaves the key to its class, the default."""
    if not isinstance(plain, Mapping) or key in plain or "_target_" not in plain:
        return plain.get(key) if isinstance(plain, Mapping) else None
    parameter = inspect.signature(locate_trusted(key, plain["_target_"], within_own=True)).parameters.get(key)
    return None if parameter is None or parameter.default is parameter.empty else parameter.default


def _copy(section: DictConfig) -> DictConfig:
    copied = OmegaConf.create(plain_section(section, resolve=False))
    OmegaConf.set_struct(copied, False)
    return copied

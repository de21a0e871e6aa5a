"""Checks of a composed config, before anything is built."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Collection, Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from diptych.config.allowed_classes import own_packages, rooms_at
from diptych.config.argument_values import check_limits, check_types
from diptych.config.earlier_configs import advice_on
from diptych.config.folder import CONFIG_FOLDER
from diptych.config.habits import habit
from diptych.config.model_names import check_model_names
from diptych.config.plain_config import leaves, plain_section
from diptych.extras import MissingExtra, missing_extra
from diptych.storage.moved_names import moved_target

_GROUPS = {
    "train": ["data", "system", "trainer", "callbacks", "logger", "cluster"],
    "evaluate": ["data", "trainer", "metrics", "caption_metrics", "logger", "cluster"],
}


# Keys of a section that are no argument of its class: other settings refer to them.
SECTION_KEYS = ("data.root",)
_INSTANTIATE_KEYS = {"_target_", "_convert_", "_partial_", "_recursive_", "_args_"}


def root_keys(config_name: str) -> list[str]:
    """The keys at the top of a primary config."""
    own = OmegaConf.load(CONFIG_FOLDER / f"{config_name}.yaml")
    return [str(key) for key in own if key not in ("defaults", "hydra")] + _GROUPS[config_name]


def check(config: DictConfig, known_roots: list[str]) -> None:
    """Every top key is known, and `check_section` of all, before anything is built; else ValueError with the nearest
    names.
    """
    for key in config:
        if key not in known_roots:
            raise ValueError(f"unknown key {key!r}.{suggest(str(key), known_roots)}")
    check_section("", plain_section(config))


def check_evaluation(config: DictConfig) -> None:
    """As `check`, of what `evaluate.py` is given, but for its data, which are merged into the checkpoint's, and its
    system, which refers to a training that there is not.
    """
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key not in ("data", "system")])
    check(own, root_keys("evaluate"))


def check_given(config: DictConfig, later: Collection[str] = ()) -> None:
    """ValueError names what a pipeline wants that is not said; what is said `later` may be missing."""
    missing = [str(key) for key in config if OmegaConf.is_missing(config, key) and key not in later]
    if missing:
        raise ValueError(f"pipeline={config.name} needs {', '.join(f'{key}=...' for key in missing)}")


def check_section(name: str, section: dict[str, Any]) -> None:
    """Every `_target_` in a plain, resolved section exists, every key beside it is an argument of it, and its value of
    the argument's type where that is plain; else ValueError, with the nearest names of a key that there is not.
    """
    for path, node in targets(section, name):
        found = locate(path, node["_target_"])
        _check_arguments(path, node, found)
        check_types(path, node, found, made_by_parts=True)


def check_data_fits_system(config: DictConfig, trusted: bool = True) -> None:
    """Raises ValueError when triplets meet the system that writes captions, or news photos the one that retrieves: the
    two classes' `kind` must be the same. Of a config that came out of a checkpoint, which is not `trusted`, only
    classes that `check_untrusted` allows are looked at.
    """
    data, system = (kind_of(name, config[name], trusted) for name in ("data", "system"))
    if data == system:
        return
    if not trusted and {data, system} == {"captions", "retrieval"}:
        wanted = (
            "triplets: data=rooms or data=cirr" if system == "retrieval" else "news photos: data=newsroom or openevents"
        )
        raise ValueError(
            f"this checkpoint's model is of {system}, and these data are of {data}; choose {wanted}, for example"
        )
    if (data, system) == ("captions", "retrieval"):
        raise ValueError("data holds news photos to caption, but system composes images; use system=caption_fuser")
    if (data, system) == ("retrieval", "captions"):
        raise ValueError("system=caption_fuser writes captions of news photos; use data=newsroom or data=openevents")
    raise ValueError(f"data is of the kind {data!r}, but system is of the kind {system!r}: they do not go together")


def kind_of(path: str, node: DictConfig, trusted: bool = True) -> str:
    """The `kind` that the class of a section has as an attribute (`retrieval`, `captions`)."""
    target = str(node.get("_target_"))
    located = locate(path, target) if trusted else locate_trusted(path, target)
    kind = getattr(located, "kind", None)
    if not isinstance(kind, str):
        raise ValueError(
            f"{path}._target_: {target} has no attribute `kind`: say what it is for, retrieval or captions"
        )
    return kind


def check_data_root(config: DictConfig) -> None:
    """ValueError when `data.root` is set and there are several sources, of which not exactly one lies there, or several
    of one class, as FashionIQ's categories.
    """
    root, sources = config.data.get("root"), config.data.get("sources") or {}
    having_it = {str(node.get("_target_")) for node in sources.values() if str(node.get("root")) == str(root)}
    if root is not None and len(sources) > 1 and len(having_it) != 1:
        raise ValueError("data.root names one dataset's folder; in a mix set data.sources.<name>.root for each source")


def check_untrusted(config: DictConfig) -> DictConfig:
    """The resolved form of a config that came out of a checkpoint, safe to build: at each place it names only classes
    of the kind that stands there, of this package, torch or bitsandbytes, and of the packages that the environment
    variable DIPTYCH_TRUST lists (`mine,theirs`), with plain arguments of the right types; and nothing else of it was
    imported. ValueError otherwise.
    """
    plain = plain_section(config)
    for path, value in leaves(plain):
        if isinstance(value, str) and "${" in value:
            raise ValueError(f"{path}: {value!r} is an interpolation inside a value; nothing was built")
    own: list[str] = []
    located: list[tuple[str, dict[str, Any], type]] = []
    for path, node in targets(plain):
        target = str(node["_target_"])
        within_own = any(path.startswith(f"{whole}.") for whole in own)
        found = locate_trusted(path, target, within_own)
        if f"{found.__module__}.".startswith(own_packages()):
            own.append(path)
        if "_args_" in node:
            raise ValueError(f"{path}._args_ may not stand in a stranger's config; nothing was built")
        check_arguments(path, node, found)
        located.append((path, node, found))
    check_model_names(located)
    return OmegaConf.create(plain)


def locate_trusted(path: str, target: str, within_own: bool = False) -> type:
    """The class that a `_target_` of a stranger's config names; ValueError, and nothing is imported, for others than
    those that may stand at the path, and the packages that DIPTYCH_TRUST names. `within_own`: see `rooms_at`.
    """
    rooms = rooms_at(path, within_own)
    if not rooms or not target.startswith(rooms):
        raise ValueError(
            f"{path}._target_: {target} is not allowed in a checkpoint's config; nothing was built. (DIPTYCH_TRUST"
            " lists packages of your own whose classes it may name; docs/extending.md)"
        )
    found = locate(path, target)
    if not (inspect.isclass(found) and f"{found.__module__}.".startswith(rooms)):
        raise ValueError(f"{path}._target_: {target} is not a class of this package or torch; nothing was built")
    return found


def check_arguments(path: str, node: dict[str, Any], found: type) -> None:
    """ValueError, naming the key, for an argument that the class of a stranger's section does not have, or of another
    type.
    """
    _check_arguments(path, node, found)
    check_types(path, node, found)
    check_limits(path, node, found)


def _check_arguments(path: str, node: dict[str, Any], constructor: Callable[..., Any]) -> None:
    parameters = inspect.signature(constructor).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for key in node:
        full = f"{path}.{key}" if path else str(key)
        if key not in _INSTANTIATE_KEYS and key not in parameters and full not in SECTION_KEYS:
            known = [f"{path}.{name}" if path else name for name in parameters]
            raise ValueError(f"unknown key {full!r}.{habit(full) or advice_on(full) or suggest(full, known)}")


def targets(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every dict with a `_target_` in a plain container, with its path, the outer ones first."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield path, node
        for key, value in node.items():
            yield from targets(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for position, value in enumerate(node):
            yield from targets(value, f"{path}.{position}")


def locate(path: str, target: str) -> Callable[..., Any]:
    """The object that a `_target_` names: an attribute of a module, nothing deeper."""
    module_name, _, name = str(target).rpartition(".")
    try:
        return getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        missing = missing_extra(error)
        if missing is not None:
            raise MissingExtra(f"{path}: {missing}") from error
        moved = moved_target(str(target))
        advice = f"it is {moved} now" if moved != target else str(error)
        raise ValueError(f"{path}._target_: there is no {target}: {advice}") from error


def suggest(key: str, known: list[str]) -> str:
    """A sentence that offers the nearest of the known names, or lists them."""
    above, _, own = key.rpartition(".")
    beside = [name for name in known if name.rpartition(".")[0] == above]
    near = [f"{above}.{name}" if above else name for name in _near(own, [name.rpartition(".")[2] for name in beside])]
    near = near or [name for name in known if name.rpartition(".")[2] == own][:3]  # at the wrong depth
    near = near or _near(key, known)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else f" Known: {', '.join((beside or known)[:30])}"


def _near(key: str, known: list[str]) -> list[str]:
    return difflib.get_close_matches(key, known, n=3, cutoff=0.6)

"""The pretrained models that a composed config names: what a run of it wants from a network, unless it is there."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from diptych.config.checking import locate, targets
from diptych.config.plain_config import plain_section

HUB, OPEN_CLIP, SPACY = "hub", "open_clip", "spacy"
_KINDS = {"registry": OPEN_CLIP}  # what `model_names` of a class calls it, where that is another name
_PACKAGE = "package:"
_ONLY_WITH = {"data.noun_phrases": "system.auxiliary_losses"}  # nobody asks the first without one of the second


@dataclass(frozen=True)
class ModelNeed:
    """A model of one of the kinds above: `name` on the hub, `ARCHITECTURE/TAG` of open_clip's registry, or a package of
    spaCy's. `keys` are the settings that name it.
    """

    kind: str
    name: str
    keys: tuple[str, ...]


def model_needs(config: DictConfig, sections: Sequence[str]) -> list[ModelNeed]:
    """What the sections of a config name, each model once, in their order; not what is a file, a folder or part of an
    installed package (`package:NAME/PATH`). Which arguments of a class name models says its `model_names`.

    Raises:
        ValueError: a class is not there, or its extra is not installed.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for section in sections:
        node = config.get(section)
        if isinstance(node, DictConfig):
            for kind, name, key in _named(section, plain_section(node)):
                wanted = next((other for one, other in _ONLY_WITH.items() if key.startswith(f"{one}.")), None)
                if wanted is None or OmegaConf.select(config, wanted):
                    found.setdefault((kind, name), []).append(key)
    return [ModelNeed(kind, name, tuple(keys)) for (kind, name), keys in found.items()]


def _named(section: str, plain: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for path, node in targets(plain, section):
        located = locate(path, node["_target_"])
        parameters = inspect.signature(located).parameters
        for argument, said in getattr(located, "model_names", {}).items():
            kind = _KINDS.get(said, said)
            name = node.get(argument, getattr(parameters.get(argument), "default", None))
            if kind == OPEN_CLIP:
                default = getattr(parameters.get("pretrained"), "default", None)
                tag = node.get("pretrained", default)
                if "pretrained" not in parameters or node.get("architecture") is not None or not tag or _is_path(tag):
                    continue
                name = f"{name}/{tag}"
            if isinstance(name, str) and not name.startswith(_PACKAGE) and not _is_path(name):
                yield kind, name, f"{path}.{argument}"


def is_here(need: ModelNeed) -> bool:
    """Whether this machine can load the model without a network, as far as that can be told without loading it."""
    if need.kind == SPACY:
        return need.name in {entry.name for entry in entry_points(group="spacy_models")}
    from huggingface_hub import try_to_load_from_cache

    if need.kind == HUB:
        files, names = ("config.json", "modules.json"), [need.name, f"sentence-transformers/{need.name}"]
        return any(isinstance(_cached(try_to_load_from_cache, name, file), str) for name in names for file in files)
    from open_clip.pretrained import get_pretrained_cfg

    architecture, _, tag = need.name.partition("/")
    repository, _, file = str(get_pretrained_cfg(architecture, tag).get("hf_hub", "")).rpartition("/")
    weights = [file] if file else ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]
    return bool(repository) and any(isinstance(_cached(try_to_load_from_cache, repository, f), str) for f in weights)


def _cached(look: Any, name: str, file: str) -> Any:
    with suppress(ValueError, OSError):  # no name of the hub
        return look(name, file)
    return None


def _is_path(name: object) -> bool:
    with suppress(OSError, ValueError):
        return Path(str(name)).exists()
    return False

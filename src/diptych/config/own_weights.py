"""Weights of other programs in the place of a checkpoint: `evaluate ckpt=FOLDER`, `train init_from=FOLDER`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.config.override_words import in_shell, override, quoted, unquoted, with_home
from diptych.models.backbones.described_clip import clip_settings, likely_names
from diptych.storage.weights_files import kind_of, weights_in

KEYS = {"evaluate": "ckpt", "train": "init_from"}
_BACKBONE = "system.model.backbone"
_GROUP = "system/model/backbone"


def with_own_weights(command: str, words: Sequence[str]) -> list[str]:
    """The overrides, in which `ckpt=` (of evaluate) or `init_from=` (of train) that names CLIP weights of open_clip or
    transformers has become the settings of a backbone with these weights, and for evaluate `system=zero_shot`. What
    else is set stays: `system/model=text_only`, or single keys of the backbone. Other words stay as they are.

    Raises:
        ValueError: what is named is a model, and cannot be read here; says which key or command takes it.
    """
    key = KEYS.get(command)
    named = [word for word in words if key and word.partition("=")[0] == key]
    if len(named) != 1:
        return list(words)
    path = Path(with_home(unquoted(named[0].partition("=")[2])))
    kind = kind_of(path)
    if kind in ("clip", "siglip"):
        others = [word for word in words if word != named[0]]
        return [*_words_of(path, others, evaluated=command == "evaluate"), *others]
    check_kind(f"{key}={path}", path, evaluated=command == "evaluate")
    return list(words)


def check_kind(said: str, path: Path, evaluated: bool) -> None:
    """ValueError for what is no checkpoint of ours, and known to be something else; says what takes it. `said` is how
    the user named it, where a checkpoint is to be `evaluated` or else to be trained on.
    """
    kind = kind_of(path)
    folder = path if path.is_dir() else path.parent
    if kind == "program":
        raise ValueError(
            f"{said} is a program (TorchScript), which is not run. OpenAI's weights are known by name:"
            f" {_BACKBONE}.name=ViT-B-32-quickgelu {_BACKBONE}.pretrained=openai"
        )
    if kind == "language model" or (kind == "adapter" and evaluated):
        what, word = ("a PEFT adapter", "adapter") if kind == "adapter" else ("a language model", "model")
        make = in_shell("diptych", "import", f"{word}={folder}", "experiment=fuser_openevents", "out=runs/mine")
        rather = f"; to train it further: system.model.name={folder}" if not evaluated else ""
        raise ValueError(f"{said} is {what}, without the settings that captions need: {make} makes a run of it{rather}")


def backbone_settings(path: Path, name: str | None = None) -> dict[str, Any]:
    """The settings of a backbone with the CLIP weights in a file or folder, by key of its section; `name` is the
    model's in open_clip's list where the user says it, which then counts.

    Raises:
        ValueError: they are described badly, or not at all and no name is given; names the keys that say it.
    """
    weights = weights_in(path) if path.is_dir() else path
    found = {} if name else clip_settings(weights)
    if not found and not name:
        likely = likely_names(weights)
        names = f"; its sizes are those of {', '.join(likely[:4])}" if likely else ""
        raise ValueError(
            f"{path}: nothing beside these weights says which model they are of: set {_BACKBONE}.name=NAME of"
            f" open_clip's list (-quickgelu where they come from OpenAI's){names}; or put their open_clip_config.json"
            " (or transformers' config.json and preprocessor_config.json) beside them"
        )
    return {**found, "pretrained": str(weights)}


def _words_of(path: Path, others: Sequence[str], evaluated: bool) -> list[str]:
    said = {word.partition("=")[0].lstrip("+"): word.partition("=")[2] for word in others}
    name = said.get(f"{_BACKBONE}.name")
    found = backbone_settings(path, name and unquoted(name))
    settings = {f"{_BACKBONE}.{key}": value for key, value in found.items()}
    groups = {"system": "zero_shot"} if evaluated else {}
    groups |= {_GROUP: "vit_b_32"}
    wanted = groups | settings
    return [as_override(key, value) for key, value in wanted.items() if key not in said]


def as_override(key: str, value: Any) -> str:
    """The word that sets `key` to a text, or to a plain section of settings."""
    return override(key, value) if isinstance(value, str) else f"{key}={_written(value)}"


def _written(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_written, value)) + "]"
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    return quoted(value) if isinstance(value, str) else repr(value)

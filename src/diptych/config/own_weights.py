"""Weights of other programs in the place of a checkpoint: `evaluate ckpt=FOLDER`, `train init_from=FOLDER`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.config.override_words import override, quoted, unquoted, with_home
from diptych.models.backbones.described_clip import clip_settings, likely_names
from diptych.storage.weights_files import USES, kind_of, weights_in

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
    if kind == "clip":
        others = [word for word in words if word != named[0]]
        if "system/model=checkpoint" in others:
            raise ValueError(
                f"{key}={path}: it is a CLIP, which starts a backbone; system/model=checkpoint wants a checkpoint of a"
                " whole model: leave it out"
            )
        groups = {"system": "zero_shot"} if command == "evaluate" else {}
        return [*backbone_words(path, others, **groups), *others]
    if kind in ("checkpoint", "other") or (kind == "adapter" and command == "train"):
        return list(words)
    raise ValueError(f"{key}={path}: {USES[kind]}")


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


def backbone_words(path: Path, others: Sequence[str] = (), **groups: str) -> list[str]:
    """The overrides that choose a backbone with the CLIP weights in a file or folder, and these `groups`, as far as the
    `others` set nothing else. ValueError as `backbone_settings`.
    """
    said = {word.partition("=")[0].lstrip("+"): word.partition("=")[2] for word in others}
    name = said.get(f"{_BACKBONE}.name")
    found = backbone_settings(path, name and unquoted(name))
    wanted = groups | {_GROUP: "vit_b_32"} | {f"{_BACKBONE}.{key}": value for key, value in found.items()}
    return [_as_override(key, value) for key, value in wanted.items() if key not in said]


def _as_override(key: str, value: Any) -> str:
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

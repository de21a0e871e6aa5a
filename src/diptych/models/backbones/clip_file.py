"""A file of CLIP weights put into open_clip's model, or one sentence on why it cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
from open_clip.factory import load_state_dict
from open_clip.model import convert_to_custom_text_state_dict

from diptych.models.backbones.transformers_clip import differences, load_transformers
from diptych.storage.weights_files import USES, kind_of

_LONGEST = 300


def load_file(model: Any, path: Path, name: str, of_tag: bool) -> None:
    """Loads the weights, which have open_clip's names or transformers', unless they are `of_tag`: open_clip's alone.
    Only tensors are read, never pickled code.

    Raises:
        ValueError: the file cannot be read so, or holds something else, or another model's weights than those of the
            `name`; says which tensors differ, a few of them.
    """
    try:
        if of_tag or not load_transformers(model, path):
            open_clip.load_checkpoint(model, str(path), strict=True, weights_only=True)
    except Exception as error:  # the unpickler, the zip reader and the model each raise their own kinds
        raise ValueError(f"{path}: no weights for the model {name}: {_reason(model, path, error)}") from error


def _reason(model: Any, path: Path, error: Exception) -> str:
    if (kind := kind_of(path)) in USES and kind != "clip":
        return USES[kind]
    if not isinstance(error, RuntimeError) or "loading state_dict" not in str(error):
        return _of_reading(error)
    state = load_state_dict(str(path), weights_only=True)
    if not any(name.startswith("text.") for name in state):
        state = convert_to_custom_text_state_dict(state)
    found, expected = ({name: tuple(t.shape) for name, t in of.items()} for of in (state, model.state_dict()))
    return (
        f"{differences(found, expected)}; choose the model that they are of, system.model.backbone.name=NAME of"
        " open_clip's list, or the configuration of one that it has not, system.model.backbone.architecture"
    )


def _of_reading(error: Exception) -> str:
    text = str(error).strip()
    if "weights_only" in text or "Weights only" in text:
        return "it holds more than tensors (a pickle with code, which is not run); save it as .safetensors"
    line = (text.splitlines() or [type(error).__name__])[0][:_LONGEST]
    return (
        f"{line}; it must be a plain file of tensors (.safetensors, or .pt without code) with this model's names and"
        " shapes, open_clip's or transformers'"
    )

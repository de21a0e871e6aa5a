"""Names of models in a stranger's config: models of this machine, or the shipped ones; none makes it ask a hub."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

_REGISTRY_NAME = re.compile(r"[\w.+-]+")
_HUB_NAME = re.compile(r"(?:[\w.-]+/)?[\w.-]+")
_PACKAGE = "package:"
_FILES = ("config.json", "modules.json", "adapter_config.json")
_OF_SENTENCE_ENCODERS = "sentence-transformers/"  # where that library looks for a name alone


def check_model_names(nodes: Sequence[tuple[str, dict[str, Any], type]]) -> None:
    """Checks the names of models among (path, section, its class).

    Which arguments those are say the classes: `model_names` has the kind of each. `registry` is a name of open_clip's
    own list. `hub` is a folder or file, `package:NAME/PATH`, the name that a class has as its default, or one of the
    hub that this machine has fetched before.

    Raises:
        ValueError: a name is none of these; says how the model is fetched by whoever wants it.
    """
    parameters = [parameter for _, _, found in nodes for parameter in inspect.signature(found).parameters.values()]
    shipped = {parameter.default for parameter in parameters if isinstance(parameter.default, str)}
    for path, node, found in nodes:
        for argument, kind in getattr(found, "model_names", {}).items():
            name, key = node.get(argument), f"{path}.{argument}"
            if name is None:
                continue
            if kind == "registry" and not _REGISTRY_NAME.fullmatch(name):
                raise ValueError(
                    f"{key}={name}: a stranger's config may name models of open_clip's own list only; nothing was built"
                )
            if kind == "hub" and name not in shipped and not _is_here(name):
                raise ValueError(
                    f"{key}={name}: this model is not on this machine, and is not fetched because a stranger's config"
                    f" names it. If you want it: hf download {name if _HUB_NAME.fullmatch(name) else 'NAME'}"
                )


def _is_here(name: str) -> bool:
    with suppress(OSError):  # the longest names cannot even be looked for
        if name.startswith(_PACKAGE) or Path(name).exists():
            return True
    if not _HUB_NAME.fullmatch(name) or ".." in name or "--" in name:
        return False
    from huggingface_hub import try_to_load_from_cache  # here: few configs name a model of the hub

    names = (name, f"{_OF_SENTENCE_ENCODERS}{name}") if "/" not in name else (name,)
    return any(isinstance(try_to_load_from_cache(one, file), str) for one in names for file in _FILES)

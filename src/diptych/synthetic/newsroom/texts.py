"""The English of the set: lists of sentences and names in YAML files beside this one."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import yaml

# libyaml's parser where PyYAML was built with it: every process that draws reads the files.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def read_texts(name: str) -> dict[str, Any]:
    """The content of `<name>.yaml`, read once in a process; its lists are tuples, in the order of the file."""
    text = resources.files("diptych.synthetic.newsroom").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return _with_tuples(yaml.load(text, _LOADER))


def _with_tuples(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _with_tuples(value) for key, value in node.items()}
    return tuple(map(_with_tuples, node)) if isinstance(node, list) else node

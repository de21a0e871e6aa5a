"""Values of a stranger's config: of the types that their arguments have, and within what a machine can do."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "Path": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "None": (type(None),),
}
# What no run of ours has had: processes, what is generated or held at once, what is written for one answer.
_MOST = {
    "num_workers": 256,
    "devices": 64,
    **dict.fromkeys(("num_train_hotels", "num_val_hotels", "num_test_hotels"), 20_000),
    **dict.fromkeys(("num_train_families", "num_val_families", "num_test_families"), 1_000),
    **dict.fromkeys(("batch_size", "evaluation_batch_size", "micro_batch_size"), 65_536),
    **dict.fromkeys(("max_side", "image_size"), 16_384),
    "max_new_tokens": 8_192,
    "num_beams": 64,
    "num_candidates": 1_000,
}


def check_values(path: str, node: Mapping[str, Any], constructor: Callable[..., Any]) -> None:
    """ValueError, naming the key, when a value is not of its argument's type, where that is plain (`int | None`), or
    a number is beyond what any run has.
    """
    for key, parameter in inspect.signature(constructor).parameters.items():
        if key not in node:
            continue
        value, full = node[key], f"{path}.{key}" if path else key
        names = [name.strip() for name in str(parameter.annotation).split("|")]
        if all(name in _TYPES for name in names) and not any(_is(value, name) for name in names):
            raise ValueError(f"{full}={value!r}: expected {parameter.annotation}, found {type(value).__name__}")
        if key in _MOST and _size(value) > _MOST[key]:
            raise ValueError(f"{full}={value}: a stranger's config may ask for {_MOST[key]} at most; set it yourself")


def _size(value: Any) -> float:
    """The number; how many a list names (`devices=[0,1]`); Lightning reads digits in a text as their number."""
    if isinstance(value, list):
        return len(value)
    return float(value) if isinstance(value, int | float) or (isinstance(value, str) and value.isdecimal()) else 0


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):  # a number, says Python
        return name == "bool"
    if name == "int" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[name])

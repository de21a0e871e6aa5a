"""Values of a config: of the types that their arguments have; a stranger's also within what a machine can do."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "Path": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "None": (type(None),),
}
_NOT_IN_CONFIGS = ("Tensor", "torch.Tensor")  # which an argument may be given in code
_MISSING = "???"  # OmegaConf's, of what is yet to be said
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


def check_types(
    path: str, node: Mapping[str, Any], constructor: Callable[..., Any], made_by_parts: bool = False
) -> None:
    """ValueError, naming the key, when a value is not of its argument's type, where that is plain (`int | None`). With
    `made_by_parts` a value may be a part that is built (`_target_`), whose result is not known here.
    """
    for key, parameter in inspect.signature(constructor).parameters.items():
        value, names = node.get(key), _type_names(parameter.annotation)
        if key not in node or value == _MISSING or not names or any(name not in _TYPES for name in names):
            continue
        if (made_by_parts and isinstance(value, dict) and "_target_" in value) or any(
            _is(value, name) for name in names
        ):
            continue
        full, shown = f"{path}.{key}" if path else key, "null" if value is None else repr(value)
        expected = " | ".join("null" if name == "None" else name for name in names)
        advice = f"; as a text: {full}=\"'{value}'\"" if "str" in names and isinstance(value, int | float) else ""
        raise ValueError(f"{full}={shown}: expected {expected}, found {type(value).__name__}{advice}")


def check_limits(path: str, node: Mapping[str, Any], constructor: Callable[..., Any]) -> None:
    """ValueError, naming the key, when a number is beyond what any run has."""
    for key in inspect.signature(constructor).parameters:
        if key in node and key in _MOST and _size(node[key]) > _MOST[key]:
            full = f"{path}.{key}" if path else key
            raise ValueError(
                f"{full}={node[key]}: a stranger's config may ask for {_MOST[key]} at most; set it yourself"
            )


def _type_names(annotation: Any) -> list[str]:
    """The names of the types that a config can hold, of an annotation in either form; empty if there is none."""
    if annotation is inspect.Parameter.empty:
        return []
    if not isinstance(annotation, str):
        parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
        annotation = " | ".join("None" if part is NoneType else getattr(part, "__name__", "?") for part in parts)
    return [name for name in map(str.strip, annotation.split("|")) if name not in _NOT_IN_CONFIGS]


def _size(value: Any) -> float:
    """The number; how many a list names (`devices=[0,1]`); Lightning reads digits in a text as their number."""
    if isinstance(value, list):
        return len(value)
    return float(value) if isinstance(value, int | float) or (isinstance(value, str) and value.isdecimal()) else 0


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):  # a number, says Python
        return name == "bool"
    if name == "bool" and value in (0, 1):
        return isinstance(value, int)
    if name == "int" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[name])

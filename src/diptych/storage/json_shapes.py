"""What form a JSON value must have before code goes on with it.

A shape is `str`, `bool`, `int`, `float` (any finite number), `Count` (a whole number from 0), `list`, `dict`, or
`object` (anything); `[shape]` is a list of such, `{str: shape}` an object of such, and
`{"key": shape, "other?": shape}` an object with these keys, of which `other?` may be absent or null, and perhaps more.
"""

from __future__ import annotations

from typing import Any

Shape = Any
_LARGEST_INT, _LARGEST_FLOAT = 2**63, 1e300  # what databases, arrays and floats can hold


class Count:
    """Stands for a whole number from 0 in a shape."""


_NAMES = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    Count: "a whole number from 0",
    float: "a finite number",
    list: "a list",
    dict: "an object",
}


def fault_of(value: Any, shape: Shape, name: str = "the content") -> str | None:
    """What is wrong with the value, in words that begin with `name` or the key; None for one of this shape."""
    if isinstance(shape, list):
        faults = (fault_of(item, shape[0], f"{name}[{place}]") for place, item in enumerate(_of(value, list)))
        return _wrong(value, list, name) or next(filter(None, faults), None)
    if not isinstance(shape, dict):
        return _wrong(value, shape, name)
    if not isinstance(value, dict):
        return _wrong(value, dict, name)
    for key, inner in shape.items():
        if key is str:
            found = next(filter(None, (fault_of(item, inner, _key(name, own)) for own, item in value.items())), None)
        elif key.endswith("?") and value.get(key[:-1]) is None:
            continue
        elif key.removesuffix("?") not in value:
            return f"{name} has no key {key!r}"
        else:
            found = fault_of(value[key.removesuffix("?")], inner, _key(name, key.removesuffix("?")))
        if found:
            return found
    return None


def _of(value: Any, kind: type) -> Any:
    return value if isinstance(value, kind) else ()


def _key(name: str, key: str) -> str:
    return f"{name}, key {key!r:.80}"


def _wrong(value: Any, kind: type, name: str) -> str | None:
    if kind is object:
        return None
    if kind in (int, Count, float) and isinstance(value, int | float) and not isinstance(value, bool):
        if kind is float:
            right = abs(value) < _LARGEST_FLOAT
        else:
            right = isinstance(value, int) and (0 if kind is Count else -_LARGEST_INT) <= value < _LARGEST_INT
    else:
        right = isinstance(value, kind) and not (kind in (int, float) and isinstance(value, bool))
    return None if right else f"{name} must be {_NAMES[kind]}, found {_shown(value)}"


def _shown(value: Any) -> str:
    if isinstance(value, int) and abs(value) >= _LARGEST_INT:
        return "a number too large"
    return "null" if value is None else f"{value!r:.80}"

"""What form a JSON value must have before code goes on with it.

A shape is `str`, `bool`, `int`, `Count` (a whole number from 0), `float` (any number), `Finite`, `None`, `list`,
`dict`, or `object` (anything). `[shape]` is a list of such, `{str: shape}` an object of such, `(shape, shape)` either;
and `{"key": shape, "other?": shape}` an object with these keys, and perhaps more; `other?` may be absent or null.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

Shape = Any
_LARGEST_INT, _LARGEST_FLOAT = 2**63, 1e300  # what databases, arrays and floats can hold


class Count:
    """Stands for a whole number from 0."""


class Finite:
    """Stands for a number that is neither infinite nor NaN."""


_NAMES = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    Count: "a whole number from 0",
    float: "a number",
    Finite: "a finite number",
    None: "null",
    list: "a list",
    dict: "an object",
}


def fault_of(value: Any, shape: Shape, name: str = "the content") -> str | None:
    """What is wrong with the value, in words that begin with `name` and the key; None for one of this shape."""
    if not _is_a(value, shape):
        return f"{name} must be {_named(shape)}, found {_shown(value)}"
    return next(_faults_inside(value, shape, name), None)


def _is_a(value: Any, shape: Shape) -> bool:
    """Whether it is of the kind; what is inside of lists and objects is not looked at, but for alternatives."""
    if isinstance(shape, tuple):
        return any(fault_of(value, one) is None for one in shape)
    if shape is object or shape is None:
        return shape is object or value is None
    if isinstance(shape, list | dict):
        return isinstance(value, type(shape))
    if shape not in (int, Count, float, Finite):
        return isinstance(value, shape)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if shape in (int, Count):
        return isinstance(value, int) and (0 if shape is Count else -_LARGEST_INT) <= value < _LARGEST_INT
    return abs(value) < _LARGEST_FLOAT or (shape is float and isinstance(value, float))


def _faults_inside(value: Any, shape: Shape, name: str) -> Iterator[str]:
    parts: Iterator[tuple[Any, Shape, str]] = iter(())
    if isinstance(shape, list):
        parts = ((item, shape[0], f"{name}[{place}]") for place, item in enumerate(value))
    elif isinstance(shape, dict):
        named = {key: inner for key, inner in shape.items() if key is not str}
        for key in named:
            if not key.endswith("?") and key not in value:
                yield f"{name} has no key {key!r}"
        known = {key.removesuffix("?"): (inner, key.endswith("?")) for key, inner in named.items()}
        own = (
            (value[key], inner, f"{name}, key {key!r}")
            for key, (inner, optional) in known.items()
            if key in value and not (optional and value[key] is None)
        )
        others = ((item, shape[str], f"{name}, key {key!r:.80}") for key, item in value.items() if str in shape)
        parts = chain(own, others)
    for part in parts:
        if (fault := fault_of(*part)) is not None:
            yield fault


def _named(shape: Shape) -> str:
    if isinstance(shape, tuple):
        return " or ".join(map(_named, shape))
    if isinstance(shape, list):
        return "a list" if shape[0] is object else f"a list, each of it {_named(shape[0])}"
    return _NAMES[dict if isinstance(shape, dict) else shape]


def _shown(value: Any) -> str:
    if isinstance(value, int) and abs(value) >= _LARGEST_INT:
        return "a number too large"
    return "null" if value is None else f"{value!r:.80}"

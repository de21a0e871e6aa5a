"""What an evaluation replaced of a checkpoint's settings, a row for each: for the report and the screen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_NOTHING = "–"


def replaced_settings(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Setting, the checkpoint's value and the value used, of the content of a metrics.json; only what differs, in the
    order of the file, then what the checkpoint alone had. A dash stands for a setting that one of them lacks.

    Files of versions that did not keep the checkpoint's value have a dash there.
    """
    used = dict(_leaves(result.get("replaced") or {}))
    before = dict(_leaves(result.get("replaced_from") or {}))
    return [
        (name, _in_words(before.get(name)), _in_words(used.get(name)))
        for name in {**used, **before}
        if before.get(name) != used.get(name)
    ]


def _leaves(node: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        name = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping):
            yield from _leaves(value, name)
        else:
            yield name, value


def _in_words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return _NOTHING if value is None else str(value)

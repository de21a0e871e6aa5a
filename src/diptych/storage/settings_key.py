"""The settings of an object as plain data: what a key of a cache on disk is made of."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

from diptych.contracts.news import FactExtractor, SentenceEncoder


def settings_of(part: Any) -> Any:
    """The constructor arguments of `part` with their values, parts of parts too, as JSON can hold them.

    Every argument must be kept under its own name. Sentence encoders and fact extractors are known by theirs: batch
    sizes, devices and folders change nothing. What a class lists as its `later_settings` came after there were caches:
    such an argument is left out while it has its default, so that they are still found.

    Raises:
        ValueError: an argument is not kept, or is of a kind that has no settings.

    Classes of this package are known by their names alone, others by their full paths.
    """
    if part is None or isinstance(part, (bool, int, float, str)):
        return part
    if isinstance(part, (SentenceEncoder, FactExtractor)):
        return part.name
    if is_dataclass(part) and not isinstance(part, type):
        return asdict(part)
    if isinstance(part, Mapping):
        return {str(key): settings_of(value) for key, value in part.items()}
    if isinstance(part, Sequence):
        return [settings_of(value) for value in part]
    kind = type(part)
    if isinstance(part, type) or kind.__module__ == "builtins":
        raise ValueError(f"{part!r:.80} has no settings to make a cache's key of")
    ours = kind.__module__.startswith("diptych.")
    settings = {"class": kind.__name__ if ours else f"{kind.__module__}.{kind.__qualname__}"}
    for name, argument in inspect.signature(kind.__init__).parameters.items():
        if name == "self":
            continue
        if not hasattr(part, name):
            raise ValueError(f"{kind.__name__} does not keep its argument {name!r}, which a cache's key needs")
        if name in getattr(kind, "later_settings", ()) and getattr(part, name) == argument.default:
            continue
        settings[name] = settings_of(getattr(part, name))
    return settings

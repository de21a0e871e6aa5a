"""The one notation of all text templates: `[this|that]` is a choice, `{slot}` a value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_Value = TypeVar("_Value")


def pick(rng: np.random.Generator, values: Sequence[_Value]) -> _Value:
    """One of the values, uniformly."""
    return values[int(rng.integers(len(values)))]


def fill(template: str, slots: Mapping[str, str], rng: np.random.Generator) -> str:
    """The template with every choice made, inner ones first, and every slot filled; slots may hold templates.

    Raises:
        ValueError: the template names a slot that is not there.
    """
    text = template
    while "[" in text or "{" in text:
        if "[" in text:
            text = _CHOICE.sub(lambda match: pick(rng, match.group(1).split("|")), text)
            continue
        try:
            text = text.format_map(slots)
        except KeyError as error:
            raise ValueError(f"template {template!r} asks for {error}, which is not known here") from None
    return text


def sentence(text: str) -> str:
    """The text with a capital first letter and a full stop, unless it ends a sentence or a quotation already."""
    text = text[0].upper() + text[1:]
    return text if text.endswith((".", "?", "!", '."', '?"', '!"')) else text + "."

"""Descriptions of images as stages leave them in their records, and as prompts show them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from diptych.storage.json_files import each_json_line

_ADVICE = "delete its folder, and it is made again"


def read_descriptions(path: Path, key: str) -> dict[str, str]:
    """The descriptions in a file of records by the id under `key`, each as prompts show it: texts take a fifth of the
    memory that objects do, and a hundred thousand are held.

    Raises:
        ValueError: a line is no record; names file and line.
    """
    descriptions: dict[str, str] = {}
    for where, record in each_json_line(path, _ADVICE):
        try:
            descriptions[record[key]] = shown(record["objects"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"{where}: no record ({error!r}); {_ADVICE}") from None
    return descriptions


def shown(objects: Iterable[Mapping[str, Any]]) -> str:
    """Objects as prompts show them: in the form of the answer, an object a line."""
    lines = ",\n".join(json.dumps(item, ensure_ascii=False) for item in objects)
    return f'{{"objects": [\n{lines}\n]}}'


def reuse(reference: Iterable[Mapping[str, Any]], target: Iterable[Mapping[str, Any]]) -> float | None:
    """The share of the reference's different descriptors that the target has too; None where there are none."""
    said, again = ({text for item in objects for text in item["descriptors"]} for objects in (reference, target))
    return round(len(said & again) / len(said), 4) if said else None

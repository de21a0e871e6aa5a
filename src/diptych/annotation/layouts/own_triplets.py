"""Diptych's own layout: `train.jsonl`, and images that are named by their content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.storage.json_files import write_json_lines


class OwnTriplets:
    """What docs/own_data.md describes and `data=triplets` reads."""

    file = "train.jsonl"
    copies_images = True

    def image_name(self, image: str) -> None:
        """None: the same picture must not come under two names."""

    def image_file(self, name: str) -> str:
        """The name, which is a path below the folder."""
        return name

    def wordings(self, texts: Sequence[str], sentences: Sequence[str]) -> Sequence[str]:
        """The texts."""
        return texts

    def write(self, path: Path, records: Sequence[Mapping[str, Any]]) -> None:
        """A record a line."""
        write_json_lines(path, records)

"""What people decided about pairs and sentences on the review page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Reviews:
    """The latest decision on each (pair id, sentence), where the sentence None stands for the whole pair."""

    decisions: Mapping[tuple[str, str | None], bool]

    def rejects(self, pair_id: str, sentence: str | None = None) -> bool:
        """Whether the sentence, or without one the pair, was rejected."""
        return self.decisions.get((pair_id, sentence)) is False


def read_reviews(path: str | Path) -> Reviews:
    """The decisions of a file of lines `{"pair_id", "sentence", "accepted"}`; later lines replace earlier ones.

    Raises:
        ValueError: the file cannot be read, or a line has another form; names file and line.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"reviews {path} cannot be read: {error}") from None
    decisions: dict[tuple[str, str | None], bool] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: not JSON ({error})") from None
        values = [record.get(key) for key in ("pair_id", "sentence", "accepted")] if isinstance(record, dict) else []
        if not values or [type(value) for value in values] not in ([str, str, bool], [str, type(None), bool]):
            raise ValueError(
                f'{path}, line {number}: expected {{"pair_id": text, "sentence": text or null, "accepted": true or'
                f" false}}, found {line[:100]}"
            )
        decisions[values[0], values[1]] = values[2]
    return Reviews(decisions)

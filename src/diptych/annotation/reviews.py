"""What people decided about pairs and sentences on the review page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from diptych.storage.json_files import each_json_line


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
    decisions: dict[tuple[str, str | None], bool] = {}
    for where, record in each_json_line(Path(path)):
        entry = record if isinstance(record, dict) else {}
        pair_id, sentence, accepted = (entry.get(key) for key in ("pair_id", "sentence", "accepted"))
        if not (isinstance(pair_id, str) and isinstance(sentence, str | None) and isinstance(accepted, bool)):
            raise ValueError(
                f'{where}: expected {{"pair_id": text, "sentence": text or null, "accepted": true or false}}, found'
                f" {json.dumps(record):.100}"
            )
        decisions[pair_id, sentence] = accepted
    return Reviews(decisions)

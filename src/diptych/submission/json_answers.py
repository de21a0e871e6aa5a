"""What the submission files of CIRR and CIRCO share: one JSON object, query id to ranked image ids."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diptych.contracts.retrieval import Query
from diptych.storage.json_files import read_json
from diptych.storage.whole import write_file


class Pairs(tuple[tuple[str, Any], ...]):
    """The (key, value) pairs of a JSON object; a dict would hide keys that occur twice."""

    __slots__ = ()


def read_pairs(path: Path) -> Pairs:
    """The file's object.

    Raises:
        ValueError: the file cannot be read, or is not one JSON object; names the line.
    """
    content = read_json(path, pairs=Pairs)
    if not isinstance(content, Pairs):
        raise ValueError(f"{path}: expected a JSON object of query id to ranked image ids")
    return content


def write_answers(path: Path, content: Mapping[str, Any]) -> Path:
    """Writes the file in one step, as compact as servers' own examples, and returns its path."""
    write_file(path, json.dumps(content, separators=(",", ":")).encode())
    return path


def repeated_keys(pairs: Pairs) -> list[str]:
    """A message for every key that occurs several times."""
    counts = Counter(key for key, _ in pairs)
    return [f"query {key}: the key occurs {count} times in the file" for key, count in counts.items() if count > 1]


def wrong_keys(answers: Mapping[str, Any], queries: Mapping[str, Query]) -> list[str]:
    """A message for every key that is no query of the split, and for every query that is missing."""
    unknown = [f"query {key}: no query of the split has this id" for key in answers if key not in queries]
    missing = [f"query {key}: missing from the file" for key in queries if key not in answers]
    return unknown + missing


@dataclass
class AnswerReport:
    """Collects what is wrong with one query's list."""

    query_id: str
    violations: list[str] = field(default_factory=list)

    def add(self, message: str) -> None:
        """Note a violation."""
        self.violations.append(f"query {self.query_id}: {message}")

    def accept(self, answer: Any, convert: Callable[[Any], Any], expected: str) -> list[Any]:
        """The converted elements; those of a wrong type are reported and left out."""
        if not isinstance(answer, list):
            self.add(f"expected a list of image ids, found {json.dumps(answer):.80}")
            return []
        converted = [convert(element) for element in answer]
        for element, value in zip(answer, converted, strict=True):
            if value is None:
                self.add(f"expected {expected}, found {json.dumps(element):.80}")
        return [value for value in converted if value is not None]

    def check_length(self, answer: Any, length: int | None) -> None:
        """Note a list of another length; None stands for any."""
        if isinstance(answer, list) and length is not None and len(answer) != length:
            self.add(f"must list {length} images, lists {len(answer)}")

    def check_repeated(self, images: Sequence[Any]) -> None:
        """Note images that occur several times."""
        for image, count in Counter(images).items():
            if count > 1:
                self.add(f"image {image} appears {'twice' if count == 2 else f'{count} times'}")

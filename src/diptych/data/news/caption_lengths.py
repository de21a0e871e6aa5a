"""How long each photo's caption is to be, in words: from a file, or by the length of what it is written from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from diptych.data.annotations import load_object
from diptych.data.csv_rows import load_rows

DOCS_PAGE = "docs/openevents.md"
_SHOWN = 5
_SOURCES = ("article", "evidence")


class CaptionLengths(Protocol):
    """What preparing asks for the length of a caption. `settings` is what decides it, as JSON can hold it: the content
    of files included.
    """

    def settings(self) -> Mapping[str, Any]:
        """What decides the lengths; ValueError where a file cannot be read."""

    def check(self, query_ids: Sequence[str]) -> None:
        """ValueError names photos whose length cannot be told."""

    def words(self, query_id: str, article: str, evidence: str) -> int:
        """The words of a photo's caption, at least 1; `article` and `evidence` are empty where there is none."""


class LengthsFromFile:
    """Words by photo id: CSV (`.csv`) with the columns `query_id` and `words`, or else one JSON object
    `{"photo id": words}`. Photos that no split asks for may stand in it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def settings(self) -> Mapping[str, Any]:
        """The file's content."""
        self._words  # noqa: B018  # a file that cannot be read is answered with what is wrong with it
        return {"file": hashlib.sha256(self.path.read_bytes()).hexdigest()}

    def check(self, query_ids: Sequence[str]) -> None:
        """Every photo must be in the file."""
        absent = [query_id for query_id in query_ids if query_id not in self._words]
        if absent:
            more = ", ..." if len(absent) > _SHOWN else ""
            raise ValueError(
                f"data.preparation.length.path={self.path}: {len(absent)} of {len(query_ids)} photos have no words in"
                f" it: {', '.join(absent[:_SHOWN])}{more}; add them, or choose a rule: length=share. There"
                f" is {next(iter(self._words), None)!r}, for example"
            )

    def words(self, query_id: str, article: str, evidence: str) -> int:
        """As the file says."""
        self.check([query_id])
        return self._words[query_id]

    @cached_property
    def _words(self) -> dict[str, int]:
        return _from_csv(self.path) if self.path.suffix == ".csv" else _from_object(self.path)


class LengthByShare:
    """`share` of the words of the `article` that was matched, or of the `evidence` that was chosen of it, rounded;
    `least` where that is fewer, as without an article, and `most` where it is more.

    Raises:
        ValueError: a value makes no sense.
    """

    def __init__(self, of: str = "article", share: float = 0.1, least: int = 20, most: int = 120) -> None:
        if of not in _SOURCES:
            raise ValueError(f"of={of!r} is not one of {', '.join(_SOURCES)}")
        if not share > 0:
            raise ValueError(f"share={share} must be above 0: 0.1 is a tenth of the {of}'s words")
        if not 1 <= least <= most:
            raise ValueError(f"least={least} and most={most} must be at least 1, and in this order")
        self.of, self.share, self.least, self.most = of, share, least, most

    def settings(self) -> Mapping[str, Any]:
        """The numbers of the rule."""
        return {"of": self.of, "share": self.share, "least": self.least, "most": self.most}

    def check(self, query_ids: Sequence[str]) -> None:
        """Every photo has a length."""

    def words(self, query_id: str, article: str, evidence: str) -> int:
        """By the rule."""
        number = len((article if self.of == "article" else evidence).split())
        return min(self.most, max(self.least, round(self.share * number)))


def _from_csv(path: Path) -> dict[str, int]:
    words: dict[str, int] = {}
    for record in load_rows(path, DOCS_PAGE):
        query_id, number = record.name("query_id"), record.text("words").strip()
        if query_id in words:
            raise record.error(f"photo {query_id!r} occurs twice; every photo has one length")
        if not number.isdecimal() or int(number) < 1:
            raise record.error(f"photo {query_id!r}: words={number!r} is not a whole number from 1")
        words[query_id] = int(number)
    return words


def _from_object(path: Path) -> dict[str, int]:
    found = load_object(path, "photo", "every photo has one length")
    if not isinstance(found, dict):
        raise ValueError(f'{path}: expected one JSON object {{"photo id": words, ...}}')
    for query_id, number in found.items():
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ValueError(f"{path}: {query_id!r}: {number!r:.40} is not a whole number of words from 1")
    return found

"""What a server was asked, and what it answered."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any


class Count:
    """How many questions came (`started`), got an answer, spoilt or not (`answered`, what would be paid for), and
    were not the same (`distinct`), by kind; those of batches count under `batch/<kind>`.
    """

    def __init__(self) -> None:
        self._started: Counter[str] = Counter()
        self._answered: Counter[str] = Counter()
        self._distinct: defaultdict[str, set[bytes]] = defaultdict(set)
        self._in_flight = self._most_in_flight = 0

    def start(self, kind: str, digest: bytes) -> None:
        """A question has come."""
        self._started[kind] += 1
        self._distinct[kind].add(digest)

    def answer(self, kind: str) -> None:
        """It is answered."""
        self._answered[kind] += 1

    def enter(self, step: int) -> None:
        """A chat request begins (1) or is over (-1)."""
        self._in_flight += step
        self._most_in_flight = max(self._most_in_flight, self._in_flight)

    def to_json(self) -> dict[str, Any]:
        """All of it, with totals over the kinds."""
        distinct = {kind: len(digests) for kind, digests in self._distinct.items()}
        parts = {"started": dict(self._started), "answered": dict(self._answered), "distinct": distinct}
        totals = {name: sum(by_kind.values()) for name, by_kind in parts.items()}
        return {**parts, "total": totals, "in_flight": self._in_flight, "most_in_flight": self._most_in_flight}

"""Which queries two runs rank differently: how many, of which kinds, and the ones that moved most."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from diptych.contracts.retrieval import Query, RankedQuery
from diptych.report.cards import QueryCard, build_card
from diptych.results.results_table import natural_order


@dataclass(frozen=True, slots=True)
class Compared:
    """A query with what both runs found; `set_name` is empty where there is one set."""

    query: Query
    first: RankedQuery
    second: RankedQuery
    set_name: str = ""

    @property
    def gain(self) -> float:
        """log2 of how much nearer to the top the second run has the target: 1 from rank 10 to 5, -1 from 5 to 10.

        A target behind the end of a list counts as the first place behind it.
        """
        if self.first.target_rank is None and self.second.target_rank is None:
            return 0.0
        return math.log2(_rank(self.first) / _rank(self.second))


@dataclass(frozen=True, slots=True)
class MovedCard:
    """A query of the page, with the card of each run."""

    first: QueryCard
    second: QueryCard
    set_name: str

    @property
    def query_id(self) -> str:
        """The query's."""
        return self.first.query_id

    @property
    def text(self) -> str:
        """The query's."""
        return self.first.text


def most_moved(compared: Sequence[Compared], most: int) -> tuple[list[Compared], list[Compared]]:
    """At most `most` queries that the second run ranks better, the largest gain first, and as many that it ranks worse,
    the largest loss first; equal ones in file order.
    """
    better = sorted((each for each in compared if each.gain > 0), key=lambda each: -each.gain)
    worse = sorted((each for each in compared if each.gain < 0), key=lambda each: each.gain)
    return better[:most], worse[:most]


def moved_card(compared: Compared, image_path: Callable[[str], Path | None], num_results: int) -> MovedCard:
    """Its card."""
    sides = [
        build_card((ranked, compared.query), image_path, num_results) for ranked in (compared.first, compared.second)
    ]
    return MovedCard(sides[0], sides[1], compared.set_name)


def count_moves(compared: Sequence[Compared]) -> tuple[int, int, int]:
    """How many targets the second run ranks better, worse, and the same."""
    gains = [each.gain for each in compared]
    better, worse = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    return better, worse, len(gains) - better - worse


def by_aspect(compared: Sequence[Compared]) -> dict[tuple[str, str], list[Compared]]:
    """The queries by set and aspect, sets in file order, aspects in natural order; one may be under several."""
    sets = list(dict.fromkeys(each.set_name for each in compared))
    found: dict[tuple[str, str], list[Compared]] = {}
    for each in compared:
        for aspect in each.query.aspects:
            found.setdefault((each.set_name, aspect), []).append(each)
    order = sorted(found, key=lambda key: (sets.index(key[0]), natural_order(key[1])))
    return {key: found[key] for key in order}


def _rank(ranked: RankedQuery) -> int:
    return len(ranked.ranked_ids) + 1 if ranked.target_rank is None else ranked.target_rank

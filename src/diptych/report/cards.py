"""Which queries a report shows, and what each of them shows: no pictures are opened here."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from diptych.contracts.retrieval import Query, RankedQuery

Pair = tuple[RankedQuery, Query]

# What the frames around pictures mean.
_FRAMES = {
    "reference": "reference image",
    "target": "target image",
    "relevant": "another accepted answer",
    "was-reference": "the reference among the results",
}


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture. `role` is `reference`, `target`, `relevant` (another accepted answer) or `other`.

    `path` is None when the source knows no file for the id; `position` is the place in the ranking, 1-based.
    """

    image_id: str
    path: Path | None
    role: str
    position: int | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class QueryCard:
    """One query of the report. `target` and `rank` are None where the answers are hidden, and then `note` is said.

    With an answer, a `rank` of None says that the target is not in the given ranking (a prediction file's list ended).
    """

    query_id: str
    text: str
    aspects: tuple[str, ...]
    rank: int | None
    subset_rank: int | None
    reference: Tile
    results: tuple[Tile, ...]
    target: Tile | None
    note: str = "answer hidden"

    @property
    def target_is_among_results(self) -> bool:
        """Whether the shown results hold the target."""
        return any(tile.role == "target" for tile in self.results)

    @property
    def rank_text(self) -> str:
        """The target's rank in words."""
        if self.target is None:
            return self.note
        return "target not in the list" if self.rank is None else f"target at rank {self.rank:,}"


def pair_with_queries(ranked: Sequence[RankedQuery], queries: Sequence[Query]) -> list[Pair]:
    """Rankings with their queries, in the order of `queries`, which holds every ranked id (ValueError otherwise)."""
    by_id = {item.query_id: item for item in ranked}
    pairs = [(by_id[query.query_id], query) for query in queries if query.query_id in by_id]
    if len(pairs) != len(by_id):
        unknown = sorted(by_id.keys() - {query.query_id for query in queries})
        raise ValueError(
            f"{len(unknown)} ranked queries are not among the split's queries, the first is {unknown[0]!r}"
        )
    return pairs


def choose_queries(
    pairs: Sequence[Pair], num_worst: int, num_random: int, seed: int = 0
) -> tuple[list[Pair], list[Pair]]:
    """The worst queries, worst first, and a seeded random draw from the others, in file order.

    The worst is the one whose target stands last; a target that is not in the ranking at all is worse than any rank,
    and ties keep file order. Without answers nothing is worst: the first list then has the first queries of the file.
    """
    order = sorted(range(len(pairs)), key=lambda place: -_badness(pairs[place]))
    worst, others = order[:num_worst], order[num_worst:]
    drawn = sorted(random.Random(seed).sample(sorted(others), min(num_random, len(others))))
    return [pairs[place] for place in worst], [pairs[place] for place in drawn]


def shown_frames(answered: bool) -> dict[str, str]:
    """The frames of a report and what they mean; where answers are hidden only the reference image has one."""
    return {name: meaning for name, meaning in _FRAMES.items() if answered or name == "reference"}


def build_card(pair: Pair, image_path: Callable[[str], Path | None], num_results: int) -> QueryCard:
    """The card of one query with its first `num_results` results."""
    ranking, query = pair
    results = []
    for position, image_id in enumerate(ranking.ranked_ids[:num_results], start=1):
        score = ranking.scores[position - 1] if position <= len(ranking.scores) else None
        results.append(Tile(image_id, image_path(image_id), _role(image_id, query), position, score))
    target = None
    if query.target_image is not None:
        target = Tile(query.target_image, image_path(query.target_image), "target", ranking.target_rank)
    return QueryCard(
        query_id=query.query_id,
        text=query.text,
        aspects=query.aspects,
        rank=ranking.target_rank,
        subset_rank=ranking.subset_rank,
        reference=Tile(query.reference_image, image_path(query.reference_image), "reference"),
        results=tuple(results),
        target=target,
    )


def _badness(pair: Pair) -> float:
    ranking, query = pair
    if query.target_image is None:
        return 0.0
    return math.inf if ranking.target_rank is None else float(ranking.target_rank)


def _role(image_id: str, query: Query) -> str:
    if image_id == query.target_image:
        return "target"
    if image_id in query.relevant_ids:
        return "relevant"
    return "reference" if image_id == query.reference_image else "other"

"""Images with a score each, put in the order of their scores, query by query."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple


class Scored(NamedTuple):
    """A score, the rank that the file gives beside it (0: none), and where in the file it stands."""

    score: float
    rank: int
    where: str


class ScoredImages:
    """The images of any number of queries, in file order. Rankings are by score, the highest first; equal scores stand
    by the ranks that were given with them, else in file order.
    """

    def __init__(self) -> None:
        self._queries: dict[str, dict[str, Scored]] = {}

    def __bool__(self) -> bool:
        return bool(self._queries)

    def add(self, query_id: str, image_id: str, score: Any, where: str, rank: int = 0) -> None:
        """Adds an image of a query, found at `where`.

        Raises:
            ValueError: the query has this image already, or the score is no finite number; names the place.
        """
        if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            found = "there is none" if score is None else f"found {score!r:.80}"
            raise ValueError(f"{where}: query {query_id!r}: the score of {image_id!r} must be a finite number, {found}")
        images = self._queries.setdefault(query_id, {})
        if image_id in images:
            raise ValueError(
                f"{where}: query {query_id!r} has the image {image_id!r} twice, first in {images[image_id].where}"
            )
        images[image_id] = Scored(float(score), rank, where)

    def add_all(self, query_id: str, scores: Mapping[str, float]) -> None:
        """Adds a query with its images, of which there may be none, as no other way of adding can say."""
        self._queries[query_id] = {image_id: Scored(float(score), 0, "") for image_id, score in scores.items()}

    def lines(self) -> tuple[dict[str, dict[str, Any]], int]:
        """By query `query_id`, `ranked_ids` and falling `scores`; and how many queries have equal scores.

        Raises:
            ValueError: an image has a better rank than one with a higher score; names the place.
        """
        lines, num_tied = {}, 0
        for query_id, images in self._queries.items():
            ranked = sorted(images.items(), key=lambda item: (-item[1].score, item[1].rank))
            for (better, one), (worse, other) in pairwise(ranked):
                if other.rank < one.rank:
                    raise ValueError(
                        f"{other.where}: query {query_id!r}: {worse!r} has rank {other.rank} before {better!r} with "
                        f"rank {one.rank}, and the lower score ({other.score} below {one.score}): the highest score "
                        "comes first; give distances a minus sign, or number the ranks anew"
                    )
            num_tied += len({one.score for one in images.values()}) < len(images)
            scores = [one.score for _, one in ranked]
            lines[query_id] = {
                "query_id": query_id,
                "ranked_ids": [image_id for image_id, _ in ranked],
                "scores": scores,
            }
        return lines, num_tied

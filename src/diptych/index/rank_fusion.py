"""Several rankings of candidates to one of articles: the published top-2 pooling, reciprocal ranks, weighted scores.

All of them name each article once, with one photo. Candidates without an article are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

from diptych.contracts.news import Candidate

Rankings = Sequence[Sequence[Candidate]]


class TopTwoPooling:
    """Beyond Vision's first stage, as its released code does it.

    The first two hits of every model contribute score x model weight x (1 for the first, 0.8 for the second) to their
    article, which gets the mean of its contributions and `bonus` for each beyond the first. After these articles come
    the other hits' articles by their raw scores (the first model that names one decides). Both kinds of score stand in
    one field and are never mixed in the order. `weights`: one for each model; null: equal, summing to 1.
    """

    def __init__(
        self,
        weights: Sequence[float] | None = None,
        rank_weights: Sequence[float] = (1.0, 0.8),
        bonus: float = 0.03,
        depth: int = 10,
    ) -> None:
        self.weights, self.rank_weights, self.bonus, self.depth = weights, tuple(rank_weights), bonus, depth

    def fuse(self, rankings: Rankings) -> list[Candidate]:
        """The first `depth` articles.

        Raises:
            ValueError: there is not one weight for each ranking.
        """
        num_first = len(self.rank_weights)
        contributions: dict[str, list[float]] = {}
        image_of: dict[str, str] = {}
        for ranking, weight in zip(rankings, _weights(self.weights, rankings), strict=True):
            for candidate, rank_weight in zip(ranking, self.rank_weights, strict=False):
                if candidate.article_id is not None:
                    contributions.setdefault(candidate.article_id, []).append(candidate.score * weight * rank_weight)
                    image_of.setdefault(candidate.article_id, candidate.image_id)
        pooled = [
            Candidate(image_of[article], article, sum(of) / len(of) + self.bonus * (len(of) - 1))
            for article, of in contributions.items()
        ]
        others: dict[str, Candidate] = {}
        for ranking in rankings:
            for candidate in ranking[num_first:]:
                if candidate.article_id is not None and candidate.article_id not in contributions:
                    others.setdefault(candidate.article_id, candidate)
        return [*_by_score(pooled), *_by_score(list(others.values()))][: self.depth]


def without(fusion: Any, position: int) -> Any:
    """The fusion of all rankings but the one at `position`: the same, the other rankings' `weights` (if it has any)
    raised so that they sum to what they did; equal ones where only zeros are left.
    """
    weights = getattr(fusion, "weights", None)
    if weights is None:
        return fusion
    left = [weight for place, weight in enumerate(weights) if place != position]
    total = sum(left)
    smaller = copy(fusion)
    smaller.weights = [sum(weights) * (weight / total if total else 1 / len(left)) for weight in left]
    return smaller


class ReciprocalRank:
    """Reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009): the sum of weight / (k + rank) over the
    models, ranks counted over articles. An article's photo is that of its best rank.
    """

    def __init__(self, weights: Sequence[float] | None = None, k: float = 60.0, depth: int = 10) -> None:
        self.weights, self.k, self.depth = weights, k, depth

    def fuse(self, rankings: Rankings) -> list[Candidate]:
        """The first `depth` articles.

        Raises:
            ValueError: there is not one weight for each ranking.
        """
        parts: list[tuple[Candidate, float]] = []
        for ranking, weight in zip(rankings, _weights(self.weights, rankings), strict=True):
            parts += [(hit, weight / (self.k + rank)) for rank, hit in enumerate(_first_of_article(ranking), start=1)]
        return _summed(parts, self.depth)


class WeightedScores:
    """The weighted sum of scores (CombSUM, Fox and Shaw, TREC-2 1994), each model's scaled to 0 to 1 over the query's
    hits. What a model has not found counts 0 there, as its last hit does.
    """

    def __init__(self, weights: Sequence[float] | None = None, depth: int = 10) -> None:
        self.weights, self.depth = weights, depth

    def fuse(self, rankings: Rankings) -> list[Candidate]:
        """The first `depth` articles.

        Raises:
            ValueError: there is not one weight for each ranking.
        """
        parts: list[tuple[Candidate, float]] = []
        for ranking, weight in zip(rankings, _weights(self.weights, rankings), strict=True):
            hits = _first_of_article(ranking)
            low, high = min((hit.score for hit in hits), default=0.0), max((hit.score for hit in hits), default=0.0)
            parts += [(hit, weight * ((hit.score - low) / (high - low) if high > low else 1.0)) for hit in hits]
        return _summed(parts, self.depth)


def _weights(weights: Sequence[float] | None, rankings: Rankings) -> Sequence[float]:
    if weights is None:
        return [1 / len(rankings)] * len(rankings)
    if len(weights) != len(rankings):
        raise ValueError(f"weights has {len(weights)} entries for {len(rankings)} rankings; give one for each")
    return weights


def _first_of_article(ranking: Sequence[Candidate]) -> list[Candidate]:
    first: dict[str, Candidate] = {}
    for candidate in ranking:
        if candidate.article_id is not None:
            first.setdefault(candidate.article_id, candidate)
    return list(first.values())


def _summed(parts: Sequence[tuple[Candidate, float]], depth: int) -> list[Candidate]:
    """The articles by the sums of their parts; the photo is that of the greatest part."""
    sums: dict[str, float] = {}
    best: dict[str, tuple[float, str]] = {}
    for hit, value in parts:
        article = str(hit.article_id)
        sums[article] = sums.get(article, 0.0) + value
        if article not in best or value > best[article][0]:
            best[article] = (value, hit.image_id)
    return _by_score([Candidate(best[article][1], article, score) for article, score in sums.items()])[:depth]


def _by_score(candidates: list[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda candidate: -candidate.score)  # stable: ties as they came

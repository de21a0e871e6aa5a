"""What several encoders find that one does not: overlap of their first articles, the union oracle, and what each adds.

Rankings are of articles, each once, at the place of its first photo. All shares are of queries, from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

from diptych.contracts.news import Candidate
from diptych.metrics.captions.article_retrieval import DEPTH, first_articles

ENSEMBLE, VERIFIED, UNION = "ensemble", "verified", "union"
ORDERS = ("kept", "better", "worse", "other", "changed")

Ranking = Sequence[Candidate] | None  # None: the query was not ranked


def overlap_at_k(first: Sequence[str], second: Sequence[str], k: int) -> float:
    """The share of the first k that both have: |A_k and B_k| / k, the overlap at depth k of Webber, Moffat and Zobel
    (TOIS 2010); of lists that end before, over the longer one's length. NaN where both are empty.
    """
    depth = min(k, max(len(first), len(second)))
    return len(set(first[:k]) & set(second[:k])) / depth if depth else float("nan")


class Complementarity:
    """Per query, and over all queries, at each of `ks` (10 at most, as deep as rankings go).

    Raises:
        ValueError: a k is not from 1 to 10.
    """

    def __init__(self, ks: Sequence[int] = (1, 5, 10)) -> None:
        if not ks or not all(1 <= k <= DEPTH for k in ks):
            raise ValueError(f"ks={list(ks)} must be numbers from 1 to {DEPTH}")
        self.ks = tuple(ks)

    def of_query(
        self,
        encoders: Mapping[str, Ranking],
        fused: Mapping[str, Ranking],
        article_id: str | None,
        verified: tuple[Ranking, Ranking] = (None, None),
    ) -> dict[str, Any]:
        """One query: `overlap` of each two encoders (`a + b`, at each k, None where neither has candidates); `ranks` of
        the right article in each ranking (None: not among the first ten), without an answer none; and `order`, what
        verification made of the first of `verified` when it gave the second:

        `kept` where it is the same; else `better` or `worse`, as the right article's place is, and `other` where
        that stayed as it was (or is not there); `changed` where no answer is known; None without rankings.
        """
        found = {name: first_articles(ranking or ()) for name, ranking in {**encoders, **fused}.items()}
        pairs = {}
        for first, second in combinations(encoders, 2):
            values = [overlap_at_k(found[first], found[second], k) for k in self.ks]
            pairs[f"{first} + {second}"] = None if values[0] != values[0] else values
        return {
            "overlap": pairs,
            "ranks": {} if article_id is None else {name: _rank(of, article_id) for name, of in found.items()},
            "order": _order(*verified, article_id),
        }

    def summarise(self, records: Sequence[Mapping[str, Any]], encoders: Sequence[str]) -> dict[str, Any]:
        """The means over what `of_query` gave: `overlap` by pair; `metrics` by ranking, with `union` for the article
        that any encoder has among its first k; and `orders`, how many queries of each.
        """
        overlap: dict[str, dict[str, float]] = {}
        for first, second in combinations(encoders, 2):
            pair = f"{first} + {second}"
            rows = [record["overlap"][pair] for record in records if record["overlap"][pair] is not None]
            if rows:
                overlap[pair] = {
                    f"overlap_at_{k}": fmean(column) for k, column in zip(self.ks, zip(*rows, strict=True), strict=True)
                }
        ranked = [record["ranks"] for record in records if record["ranks"]]
        metrics: dict[str, dict[str, float]] = {}
        for name in ranked[0] if ranked else ():
            metrics[name] = self._scores([ranks[name] for ranks in ranked])
        if ranked:
            best = [
                min((ranks[name] for name in encoders if ranks[name] is not None), default=None) for ranks in ranked
            ]
            metrics[UNION] = {key: value for key, value in self._scores(best).items() if key.startswith("recall")}
        orders = [record["order"] for record in records if record["order"] is not None]
        counted = {name: orders.count(name) for name in ORDERS if name in orders}
        return {"overlap": overlap, "metrics": metrics, "orders": counted, **_first_places(ranked)}

    def _scores(self, ranks: Sequence[int | None]) -> dict[str, float]:
        found = {f"recall_at_{k}": fmean([rank is not None and rank <= k for rank in ranks]) for k in self.ks}
        return {**found, "average_precision": fmean([1 / rank if rank else 0.0 for rank in ranks])}


def _rank(articles: Sequence[str], article_id: str) -> int | None:
    return articles.index(article_id) + 1 if article_id in articles else None


def _order(before: Ranking, after: Ranking, article_id: str | None) -> str | None:
    if before is None or after is None:
        return None
    if [candidate.image_id for candidate in before] == [candidate.image_id for candidate in after]:
        return "kept"
    if article_id is None:
        return "changed"
    first, second = (_rank(first_articles(ranking), article_id) or DEPTH + 1 for ranking in (before, after))
    return "better" if second < first else "worse" if second > first else "other"


def _first_places(ranked: Sequence[Mapping[str, int | None]]) -> dict[str, int]:
    """How many right articles verification brought to the first place, and how many it took from there."""
    if not ranked or VERIFIED not in ranked[0]:
        return {}
    firsts = [(ranks[ENSEMBLE] == 1, ranks[VERIFIED] == 1) for ranks in ranked]
    return {"first_won": firsts.count((False, True)), "first_lost": firsts.count((True, False))}

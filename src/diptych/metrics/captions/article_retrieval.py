"""How well the articles of news photos were found: EVENTA's retrieval half. Every photo has one right article."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diptych.contracts.news import Candidate
from diptych.contracts.retrieval import Better, Unit
from diptych.metrics.captions.caption_scores import CaptionScores
from diptych.metrics.captions.record_metric import RecordMetric

DEPTH = 10  # beyond it an article is not found
ABOUT: dict[str, tuple[Unit, Better]] = dict.fromkeys(
    ("recall_at_1", "recall_at_10", "average_precision"), ("fraction", "higher")
)


def article_retrieval(
    candidates: Sequence[Sequence[Candidate]], article_ids: Sequence[str]
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """`recall_at_1`, `recall_at_10` and `average_precision`, means over the queries, and the same of each (N,).

    Candidates stand in their order, not that of the scores. Photos of the same article count once, as the first of
    them, and photos without an article take none. With one right answer the average precision is 1 over its rank,
    and 0 beyond the tenth article.

    Raises:
        ValueError: there is nothing to score, or the numbers of queries differ.
    """
    ranked = [first_articles(of_query) for of_query in candidates]
    return _scores(ranked, article_ids)


def first_articles(candidates: Sequence[Candidate]) -> list[str]:
    """The first ten articles of a ranking of photos, each once, at the place of its first photo."""
    known = (candidate.article_id for candidate in candidates)
    return list(dict.fromkeys(article_id for article_id in known if article_id is not None))[:DEPTH]


def _scores(
    ranked: Sequence[Sequence[str]], article_ids: Sequence[str]
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    if not len(article_ids) or len(ranked) != len(article_ids):
        raise ValueError(f"candidates of {len(ranked)} queries and articles of {len(article_ids)}; give one each")
    rank = np.array(
        [
            1 + list(articles).index(article_id) if article_id in articles else np.inf
            for articles, article_id in zip(ranked, article_ids, strict=True)
        ]
    )
    per_item = {
        "recall_at_1": (rank == 1).astype(float),
        "recall_at_10": (rank <= DEPTH).astype(float),
        "average_precision": 1 / rank,
    }
    return {name: float(values.mean()) for name, values in per_item.items()}, per_item


class ArticleRetrieval(RecordMetric):
    """`article_retrieval` over all queries of all processes."""

    def update(
        self, query_ids: Sequence[str], candidates: Sequence[Sequence[Candidate]], article_ids: Sequence[str | None]
    ) -> None:
        """Add queries with their candidates, best first, and their annotated articles; the same may come again.

        Raises:
            ValueError: the three are not of one length, or the annotation names no article, which cannot be scored.
        """
        if not len(query_ids) == len(candidates) == len(article_ids):
            lengths = f"{len(query_ids)}, {len(candidates)} and {len(article_ids)}"
            raise ValueError(f"query ids, candidates and articles differ in number: {lengths}")
        unknown = [query_id for query_id, article_id in zip(query_ids, article_ids, strict=True) if article_id is None]
        if unknown:
            listed = ", ".join(unknown[:DEPTH]) + (", ..." if len(unknown) > DEPTH else "")
            raise ValueError(f"article_retrieval: {len(unknown)} queries have no annotated article: {listed}")
        self._add(zip(query_ids, map(first_articles, candidates), article_ids, strict=True))

    def compute(self) -> CaptionScores:
        """The values over all queries, in the order of their ids, which does not depend on the processes.

        Raises:
            ValueError: there are no queries, or one id has two different results.
        """
        query_ids, ranked, article_ids = zip(*self._merged(), strict=True)
        scores = CaptionScores(*_scores(ranked, article_ids), query_ids=query_ids, about=ABOUT)
        scores.num_items, scores.references_per_item = len(query_ids), (1, 1)
        return scores

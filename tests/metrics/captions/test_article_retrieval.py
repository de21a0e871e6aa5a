import numpy as np
import pytest

from diptych.contracts.news import Candidate
from diptych.metrics.captions.article_retrieval import ArticleRetrieval, article_retrieval


def ranking(*articles: str | None) -> list[Candidate]:
    """Photos of these articles; the scores fall and rise, as an ensemble's may."""
    return [Candidate(f"photo {place}", article, score=place % 3) for place, article in enumerate(articles)]


IDS = ["q1", "q2", "q3", "q4", "q5"]
CANDIDATES = [
    ranking("a", "b", "c"),
    ranking("b", "b", None, "b", "a", "c"),  # the second article, at the fifth photo
    ranking(*"bcdefghij", "a"),  # the tenth
    ranking(*"bcdefghijk", "a"),  # the eleventh
    ranking(),
]
ARTICLES = ["a"] * 5


def test_ranks_by_hand():
    corpus, per_item = article_retrieval(CANDIDATES, ARTICLES)
    np.testing.assert_allclose(per_item["average_precision"], [1, 1 / 2, 1 / 10, 0, 0])
    assert per_item["recall_at_1"].tolist() == [1, 0, 0, 0, 0]
    assert per_item["recall_at_10"].tolist() == [1, 1, 1, 0, 0]
    assert corpus == pytest.approx({"recall_at_1": 0.2, "recall_at_10": 0.6, "average_precision": 0.32})


def test_metric_merges_by_id():
    metric = ArticleRetrieval()
    metric.update(IDS[2:], CANDIDATES[2:], ARTICLES[2:])
    metric.update(IDS[:3], CANDIDATES[:3], ARTICLES[:3])
    scores = metric.compute()
    assert scores.corpus == article_retrieval(CANDIDATES, ARTICLES)[0]
    assert scores.query_ids == tuple(IDS) and scores.describe() == "N=5, references per item: 1"
    metric.update(["q1"], [ranking("b")], ["a"])
    with pytest.raises(ValueError, match="query 'q1' was scored twice"):
        metric.compute()


def test_faults_are_named():
    with pytest.raises(ValueError, match="2 queries have no annotated article: q1, q3"):
        ArticleRetrieval().update(IDS[:3], CANDIDATES[:3], [None, "a", None])
    with pytest.raises(ValueError, match="differ in number: 5, 4 and 5"):
        ArticleRetrieval().update(IDS, CANDIDATES[:4], ARTICLES)
    with pytest.raises(ValueError, match="candidates of 0 queries and articles of 1"):
        article_retrieval([], ["a"])
    with pytest.raises(ValueError, match="candidates of 0 queries and articles of 0"):
        article_retrieval([], [])

"""What chosen evidence holds of the references, from prepared photos."""

from __future__ import annotations

import math

import pytest

from diptych.contracts.news import Article, ArticleFact, Chunk, Evidence, KeyFacts
from diptych.data.news.fusion_cache import PreparedQuery
from diptych.metrics.captions.entity_matching import claims
from diptych.metrics.captions.length import Length
from diptych.results.evidence_evaluation import evidence_scores, reference_claims
from diptych.text.named_entities import NamedEntity

TEXT = "Rain fell in Nesnes. The bridge cost 145 kronor. It took 3 years. Ada Holm walked."
ARTICLE = Article("a", "", "A bridge", TEXT, "2020-09-18T00:00:00Z")
NAMES = ("Ada Holm", "Nesnes", "Rome")


class Claiming(Length):
    """Looks for claims: the names above and numbers."""

    def claims(self, items):
        found = []
        for item in items:
            places = [(item.caption.find(name), name) for name in NAMES if name in item.caption]
            entities = [NamedEntity(name, "PERSON", place, place + len(name)) for place, name in places]
            found.append([(claim, False) for claim in claims(item.caption, entities)])
        return found


def query(query_id: str, evidence: Evidence, *references: str) -> PreparedQuery:
    return PreparedQuery(query_id, "", evidence, references, (1,), ((2,),) * len(references))


QUERIES = [
    # Chosen: the second sentence; the date comes from the article's, Nesnes from the key facts.
    query(
        "q1",
        Evidence("a", "A bridge", "2020-09-18", TEXT[21:48], (Chunk(21, 48),), KeyFacts(places=("Nesnes",))),
        "Ada Holm in Nesnes: 145 kronor, 2020.",
        "Ada Holm, after 3 years.",
    ),
    query("q2", Evidence(), "Rome."),
]
FACTS = {
    "q1": [
        ArticleFact(name, "a", start, end, start / len(TEXT), TEXT[start:end])
        for name, start, end in (("cost", 21, 48), ("who", 66, 82))
    ]
}


def scores(queries=QUERIES, metrics=None, facts=FACTS):
    references = {query.query_id: query.reference_captions for query in queries}
    claims = reference_claims({"claiming": Claiming()} if metrics is None else metrics, references)
    return evidence_scores(queries, {"a": ARTICLE}, claims, facts)


def test_the_prompt_and_the_whole_article_by_hand():
    found = scores()["evidence_recall"]
    # Of Ada Holm, Nesnes, Rome; 145, 2020, 3: the prompt holds Nesnes, 145, 2020, the article all but Rome.
    assert found.corpus == {
        "evidence_recall": pytest.approx(3 / 6),
        "evidence_recall/names": pytest.approx(1 / 3),
        "evidence_recall/numbers": pytest.approx(2 / 3),
        "article_recall": pytest.approx(5 / 6),
        "article_recall/names": pytest.approx(2 / 3),
        "article_recall/numbers": pytest.approx(1.0),
    }
    assert found.query_ids == ("q1", "q2")
    assert found.per_item["evidence_recall"].tolist() == pytest.approx([3 / 5, 0.0])
    assert found.per_item["article_recall"].tolist() == pytest.approx([1.0, 0.0])
    assert found.describe() == "N=2, references per item: 1 to 2, 3 names and 3 numbers and dates"
    assert found.meanings.keys() == {"evidence_recall", "article_recall"}
    assert {(meaning.unit, meaning.better) for meaning in found.meanings.values()} == {("fraction", "higher")}


def test_facts_by_their_place():
    found = scores()["fact_recall"]
    assert found.corpus["fact_recall"] == 0.5
    assert found.corpus["fact_recall/third_1"] == 1.0 and found.corpus["fact_recall/third_3"] == 0.0
    assert math.isnan(found.corpus["fact_recall/third_2"])
    assert found.describe() == "N=2, references per item: 1 to 2, 2 facts, by the thirds of their articles 1, 0, 1"


def test_a_set_without_facts_and_metrics_without_claims_have_no_such_numbers():
    assert scores(facts={}).keys() == {"evidence_recall"}
    assert scores(metrics={"length": Length()}).keys() == {"fact_recall"}
    assert scores(metrics={}, facts={}) == {}

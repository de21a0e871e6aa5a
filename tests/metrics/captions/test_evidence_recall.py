"""Evidence recall on examples whose values were worked out by hand."""

from __future__ import annotations

import math

import pytest

from diptych.contracts.news import ArticleFact, Chunk, Evidence
from diptych.metrics.captions.entity_matching import Claim
from diptych.metrics.captions.evidence_recall import claim_recall, distinct, fact_recall, third


def name(text: str) -> Claim:
    return Claim(text, 0, len(text), is_quantity=False)


def number(text: str) -> Claim:
    return Claim(text, 0, len(text), is_quantity=True)


FIRST = [name("Ada Holm"), name("the Nesnes Bridge"), number("145 million kronor"), number("May 4, 2019")]
SECOND = [name("Bo Lund"), number("three"), number("480 metres")]


def test_shares_by_hand():
    texts = [
        "The bridge of Nesnes, said Ada Holm's office on 4 May 2019, cost 145 million kronor.",  # not "Nesnes Bridge"
        "Lund saw 3 boats. It spans 480 feet.",  # not "Bo Lund", not "480 metres"
    ]
    corpus, per_item = claim_recall("evidence_recall", [FIRST, SECOND], texts)
    assert corpus == {
        "evidence_recall": pytest.approx(4 / 7),
        "evidence_recall/names": pytest.approx(1 / 3),
        "evidence_recall/numbers": pytest.approx(3 / 4),
    }
    assert per_item.tolist() == pytest.approx([3 / 4, 1 / 3])


def test_what_is_said_twice_counts_once():
    claims = [name("Ada Holm"), name("ADA HOLM’s"), number("May 4, 2019"), number("the 4th of May, 2019"), name("Rome")]
    assert [claim.text for claim in distinct(claims)] == ["Ada Holm", "May 4, 2019", "Rome"]
    corpus, _ = claim_recall("x", [claims], ["Ada Holm"])
    assert corpus == {"x": pytest.approx(1 / 3), "x/names": 0.5, "x/numbers": 0.0}


def test_where_nothing_is_claimed_there_is_no_share():
    corpus, per_item = claim_recall("x", [[], [name("Rome")]], ["Rome", "Rome"])
    assert corpus["x"] == corpus["x/names"] == 1.0 and math.isnan(corpus["x/numbers"])
    assert math.isnan(per_item[0]) and per_item[1] == 1.0
    with pytest.raises(ValueError, match="x: claims of 1 items and texts of 2"):
        claim_recall("x", [[]], ["", ""])
    with pytest.raises(ValueError, match="claims of 0 items"):
        claim_recall("x", [], [])


TEXT = "".join(chr(0x4E00 + place) for place in range(300))  # each character once


def fact(start: int, end: int, position: float, article_id: str = "a") -> ArticleFact:
    return ArticleFact("who", article_id, start, end, position, TEXT[start:end])


def chosen(article_id: str, *spans: tuple[int, int]) -> Evidence:
    text = " ".join(TEXT[start:end] for start, end in spans)
    return Evidence(article_id, text=text, chunks=tuple(Chunk(start, end) for start, end in spans))


def test_facts_by_hand():
    facts = [
        # of 300 characters
        [fact(0, 50, 0.0), fact(90, 100, 0.3), fact(100, 140, 1 / 3), fact(199, 230, 199 / 300), fact(280, 300, 0.93)],
        [fact(10, 20, 0.5, "b"), fact(30, 40, 0.9, "b")],
        [],
    ]
    evidence = [
        chosen("a", (0, 95), (100, 140), (150, 300)),  # the second is cut at 95
        chosen("c", (0, 300)),  # another article
        Evidence(),
    ]
    corpus, per_item = fact_recall(facts, evidence)
    assert corpus == {
        "fact_recall": pytest.approx(4 / 7),
        "fact_recall/third_1": pytest.approx(1 / 2),
        "fact_recall/third_2": pytest.approx(2 / 3),
        "fact_recall/third_3": pytest.approx(1 / 2),
    }
    assert per_item.tolist() == pytest.approx([4 / 5, 0.0, math.nan], nan_ok=True)
    assert [third(fact(0, 1, position)) for position in (0, 0.333, 1 / 3, 0.66, 2 / 3, 1.0)] == [0, 0, 1, 1, 2, 2]
    with pytest.raises(ValueError, match="facts of 1 items and evidence of 0"):
        fact_recall([[]], [])

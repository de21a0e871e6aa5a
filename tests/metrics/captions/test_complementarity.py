"""By hand, on rankings that fit on a line."""

import math

import pytest

from diptych.contracts.news import Candidate
from diptych.metrics.captions.article_retrieval import article_retrieval
from diptych.metrics.captions.complementarity import Complementarity, overlap_at_k


def ranking(articles):
    """One photo each of the articles named by letters."""
    return [Candidate(f"photo {place}{name}", name, 1 - place / 100) for place, name in enumerate(articles)]


def test_overlap_is_the_share_of_the_first_k_that_both_have():
    assert overlap_at_k("abcd", "badx", 1) == 0
    assert overlap_at_k("abcd", "badx", 2) == 1
    assert overlap_at_k("abcd", "badx", 4) == 0.75
    assert overlap_at_k("abc", "abcdef", 10) == 0.5, "over the longer of two short lists"
    assert overlap_at_k("ab", "ab", 10) == 1 and overlap_at_k("", "a", 5) == 0
    assert math.isnan(overlap_at_k("", "", 5))


@pytest.fixture
def records():
    """Four queries, each with article `r` the right one: the first encoder finds it at 1, 3, never, never; the second
    at 2, 1, 2, and has nothing for the last.
    """
    measure = Complementarity(ks=(1, 2))
    first = ["rab", "abr", "abc", "abc"]
    second = ["ar", "ra", "cr", None]
    ensembles = ["rab", "arb", "acr", None]
    verified = ["rba", "rab", "car", None]
    made = []
    for a, b, ensemble, after in zip(first, second, ensembles, verified, strict=True):
        encoders = {"x": ranking(a), "y": None if b is None else ranking(b)}
        before = None if ensemble is None else ranking(ensemble)
        order = None if after is None else [before[ensemble.index(name)] for name in after]
        fused = {"ensemble": before, "verified": order}
        made.append(measure.of_query(encoders, fused, "r", (before, order)))
    return measure, made


def test_a_query(records):
    _, made = records
    assert [record["overlap"]["x + y"] for record in made] == [[0, 1], [0, 0.5], [0, 0], [0, 0]]
    assert [record["ranks"] for record in made] == [
        {"x": 1, "y": 2, "ensemble": 1, "verified": 1},
        {"x": 3, "y": 1, "ensemble": 2, "verified": 1},
        {"x": None, "y": 2, "ensemble": 3, "verified": 3},
        {"x": None, "y": None, "ensemble": None, "verified": None},
    ]
    assert [record["order"] for record in made] == ["other", "better", "other", None]


def test_all_queries(records):
    measure, made = records
    found = measure.summarise(made, ["x", "y"])
    assert found["overlap"] == {"x + y": {"overlap_at_1": 0, "overlap_at_2": 0.375}}
    assert found["metrics"]["x"] == {
        "recall_at_1": 0.25,
        "recall_at_2": 0.25,
        "average_precision": pytest.approx((1 + 1 / 3) / 4),
    }
    assert found["metrics"]["y"]["recall_at_2"] == 0.75
    assert found["metrics"]["union"] == {"recall_at_1": 0.5, "recall_at_2": 0.75}
    assert found["orders"] == {"better": 1, "other": 2}
    assert (found["first_won"], found["first_lost"]) == (1, 0)


def test_its_scores_are_those_of_article_retrieval():
    rankings = [ranking("abcdefghijkr"), ranking("arb"), ranking("r"), []]
    measure = Complementarity()
    records = [measure.of_query({"x": of}, {"ensemble": of}, "r") for of in rankings]
    scores, _ = article_retrieval(rankings, ["r"] * 4)
    own = measure.summarise(records, ["x"])["metrics"]
    assert {name: own["x"][name] for name in scores} == pytest.approx(scores, abs=1e-12)
    assert own["x"] == own["ensemble"] and own["union"]["recall_at_10"] == scores["recall_at_10"]


@pytest.mark.parametrize(
    ("before", "after", "article", "order"),
    [
        ("ab", "ab", "a", "kept"),
        ("ab", "ab", None, "kept"),
        ("ab", "ba", None, "changed"),
        ("ab", "ba", "b", "better"),
        ("ab", "ba", "a", "worse"),
        ("abc", "bac", "c", "other"),
        ("ab", "ba", "z", "other"),
        ("", "", "a", "kept"),
    ],
)
def test_what_verification_made_of_the_order(before, after, article, order):
    first = ranking(before)
    second = [first[before.index(name)] for name in after]
    assert Complementarity().of_query({"x": first}, {}, article, (first, second))["order"] == order


def test_without_answers_there_is_overlap_alone():
    measure = Complementarity()
    record = measure.of_query({"x": ranking("ab"), "y": ranking("ac")}, {"ensemble": ranking("ab")}, None)
    assert record["ranks"] == {} and record["order"] is None
    found = measure.summarise([record], ["x", "y"])
    assert found["metrics"] == {} and found["orders"] == {}
    assert found["overlap"]["x + y"] == {"overlap_at_1": 1, "overlap_at_5": 0.5, "overlap_at_10": 0.5}


def test_two_that_found_nothing_overlap_in_nothing():
    measure = Complementarity()
    record = measure.of_query({"x": None, "y": []}, {}, "r")
    assert record["overlap"] == {"x + y": None} and measure.summarise([record], ["x", "y"])["overlap"] == {}


@pytest.mark.parametrize("ks", [(), (0, 1), (1, 11)])
def test_other_ks_are_refused(ks):
    with pytest.raises(ValueError, match=r"ks=\[.*\] must be numbers from 1 to 10"):
        Complementarity(ks)

"""An audit's numbers as an evaluation leaves them: rates, what they are shares of, and a value for each pair."""

from __future__ import annotations

import numpy as np
import pytest

from diptych.annotation.audit import audit_pair, summarise
from diptych.annotation.audit_scores import audit_metrics, pair_scores
from diptych.annotation.rates import differences_of

BEFORE = {"rug": {"colour": "red", "pattern": "striped"}, "lamp": None, "chair": {"colour": "blue", "place": "left"}}
AFTER = {"rug": {"colour": "blue", "pattern": "striped"}, "lamp": {"colour": "green"}, "chair": BEFORE["chair"]}
SAID = (
    ["Make the rug blue.", "Turn the rug blue."],
    ["Make the rug white.", "Make the chair green.", "Move the chair to the right."],
    [],
    ["Add a green lamp."],
)


def records(*ways: str):
    counts = [dict(audit_pair(sentences, BEFORE, AFTER).counts) for sentences in SAID]
    return [{"pair_id": f"p{place}", "ways": {way: {"counts": of} for way in ways}} for place, of in enumerate(counts)]


def test_rates_are_shares_of_all_claims_and_changes():
    """What is said twice is one claim: of 5 two are invented and one is wrong; of 8 changes two are found."""
    found = audit_metrics(records("a"), {"a": summarise([record["ways"]["a"]["counts"] for record in records("a")])})
    assert found["shares"]["hallucinated"] == {"part": 2, "of": 5} and found["shares"]["wrong"] == {"part": 1, "of": 5}
    assert found["shares"]["missed"] == {"part": 6, "of": 8}
    assert found["metrics"] == {"hallucinated": 0.4, "wrong": 0.2, "missed": 0.75, "claims_per_pair": 1.25}
    assert found["about"]["missed"] == {"unit": "fraction", "better": "lower"}
    low, high = found["intervals"]["missed"]
    assert low < 0.75 < high
    two = audit_metrics(records("a", "b"), {way: summarise([]) for way in ("a", "b")})
    assert list(two["metrics"])[:2] == ["a/hallucinated", "a/wrong"] and "b/missed" in two["metrics"]


def test_the_values_of_pairs_have_the_rate_as_their_mean_and_vary_as_it_does():
    rng = np.random.default_rng(0)
    made = []
    for place in range(300):
        claims = int(rng.integers(0, 5))
        counts = {"claims": claims, "hallucinated_claims": int(rng.binomial(claims, 0.3)), "wrong_claims": 0}
        made.append({"pair_id": f"p{place}", "ways": {"a": {"counts": {**counts, "changes": 2, "missed_changes": 1}}}})
    lines = list(pair_scores(made, ["a"]))
    assert [line["query_id"] for line in lines] == [record["pair_id"] for record in made] and "set" not in lines[0]
    values = np.array([line["hallucinated"] for line in lines])
    counts = [record["ways"]["a"]["counts"] for record in made]
    rate = sum(of["hallucinated_claims"] for of in counts) / sum(of["claims"] for of in counts)
    assert values.mean() == pytest.approx(rate)
    assert all(value == pytest.approx(rate) for value, of in zip(values, counts, strict=True) if not of["claims"])
    nothing = [{name: 0 if name == "hallucinated_claims" else value for name, value in of.items()} for of in counts]
    low, high = differences_of(nothing, counts, {"x": ("hallucinated_claims", "claims")})["x"]["interval"]
    draws = values[rng.integers(300, size=(2000, 300))].mean(1)
    assert np.quantile(draws, (0.025, 0.975)) == pytest.approx([low, high], abs=0.01)


def test_a_way_that_claims_nothing_has_no_rate_of_claims():
    counts = dict(audit_pair([], BEFORE, AFTER).counts)
    silent = [{"pair_id": "p", "ways": {"a": {"counts": counts}, "b": {"counts": counts}}}]
    assert list(pair_scores(silent, ["a", "b"])) == [
        {"set": way, "query_id": "p", "missed": 1.0, "claims_per_pair": 0.0} for way in ("a", "b")
    ]
    assert audit_metrics(silent, {"a": summarise([counts])})["metrics"]["hallucinated"] is None

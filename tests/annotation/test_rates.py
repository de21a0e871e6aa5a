"""Rates and their differences: intervals against plain versions, p-values that fit on paper."""

from __future__ import annotations

import numpy as np
import pytest

from diptych.annotation.rates import difference_table, differences_of, rates_of
from diptych.metrics.wilson import wilson_interval

RATES = {"wrong": ("bad", "all")}


def pairs(*counts: tuple[int, int]) -> list[dict[str, int]]:
    return [{"bad": bad, "all": of} for bad, of in counts]


def test_a_rate_is_a_sum_over_pairs_and_its_interval_the_bootstraps():
    counts = pairs((1, 2), (0, 3), (2, 2), (0, 1))
    found = rates_of(counts, RATES)["wrong"]
    assert found["rate"] == 3 / 8 and (found["part"], found["of"]) == (3, 8)
    rng, draws = np.random.default_rng(0), []
    for _ in range(1000):
        drawn = [counts[place] for place in rng.integers(4, size=4)]
        draws.append(sum(one["bad"] for one in drawn) / sum(one["all"] for one in drawn))
    assert found["interval"] == pytest.approx(np.quantile(draws, [0.025, 0.975]))


def test_where_no_draw_differs_the_interval_is_wilsons_of_the_pairs():
    assert rates_of(pairs((0, 5), (0, 7), (0, 0)), RATES)["wrong"]["interval"] == [*wilson_interval(0, 2)]
    assert rates_of(pairs((1, 2)), RATES)["wrong"]["interval"] == [*wilson_interval(0.5, 1)]
    assert rates_of([], RATES)["wrong"] == {"rate": None, "interval": None, "part": 0, "of": 0}


@pytest.mark.parametrize("number", [1, 3, 5])
def test_few_pairs_that_all_speak_for_one_way_are_no_proof(number):
    """Of 2^n swaps of n pairs two are as far apart as what was found: none, and all."""
    first, second = pairs(*[(0, 1)] * number), pairs(*[(1, 1)] * number)
    found = differences_of(first, second, RATES)["wrong"]
    assert found["difference"] == 1.0 and found["interval"] == [1.0, 1.0]
    assert found["p"] == 2 / 2**number
    assert "+100.0 [+100.0, +100.0] p = " in difference_table("a", {"b": {"wrong": found}}, ["wrong"])


def test_equal_ways_do_not_differ_and_many_pairs_do():
    counts = pairs(*[(place % 3 == 0, 1) for place in range(30)])
    assert differences_of(counts, counts, RATES)["wrong"] == {"difference": 0.0, "interval": [0.0, 0.0], "p": 1.0}
    found = differences_of(counts, pairs(*[(1, 1)] * 30), RATES)["wrong"]
    assert found["difference"] == pytest.approx(2 / 3) and found["p"] < 0.001
    low, high = found["interval"]
    assert 0.4 < low < 2 / 3 < high < 0.9
    assert differences_of(counts, pairs(*[(0, 0)] * 30), RATES) == {"wrong": None}
    with pytest.raises(ValueError, match="30 pairs beside 1"):
        differences_of(counts, counts[:1], RATES)


@pytest.mark.parametrize(("successes", "total"), [(45, 50), (1, 3), (199, 400)])
def test_wilson_interval_holds_the_shares_that_a_score_test_allows(successes, total):
    for bound in wilson_interval(successes, total):
        assert abs(successes / total - bound) == pytest.approx(1.959964 * (bound * (1 - bound) / total) ** 0.5)


def test_wilson_interval_at_the_ends():
    assert wilson_interval(0, 10)[0] == 0.0 and wilson_interval(10, 10)[1] == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no share"):
        wilson_interval(0, 0)

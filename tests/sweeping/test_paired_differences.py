"""Intervals against every possible draw and scipy's, p-values against every possible swap and scipy's."""

from __future__ import annotations

import itertools
import math
import statistics

import numpy as np
import pytest
import torch
from scipy import stats

from diptych.sweeping.paired_differences import PairedMetric, paired_differences


def paired_difference(sets, median=False, num_resamples=10_000):
    """Interval and p-value of one metric over these sets."""
    named = dict(enumerate(sets))
    metrics = [PairedMetric("", median, named, math.nan, math.nan)]
    (row,) = paired_differences(metrics, list(named), num_resamples)
    return row.interval, row.p_value


GENERATOR = np.random.default_rng(0)
FEW = [((0, 0, 1, 0, 0), (1, 1, 1, 0, 1)), ((0.1, 0.5, 0.2, 0.9, 0.4), (0.3, 0.4, 0.6, 0.8, 0.7))]


@pytest.mark.parametrize(("first", "second"), FEW)
def test_the_interval_approaches_the_enumeration_of_all_draws(first, second):
    difference = np.subtract(second, first)
    exact = np.sort([np.mean(difference[list(draw)]) for draw in itertools.product(range(5), repeat=5)]).round(12)
    pairs = [(torch.tensor(first, dtype=torch.float64), torch.tensor(second, dtype=torch.float64))]
    (low, high), _ = paired_difference(pairs, num_resamples=40_000)
    below, above = (np.mean(exact <= low + 1e-9), np.mean(exact >= high - 1e-9))
    assert below >= 0.02 and above >= 0.02  # the bounds cut off no more than the level, up to the steps between draws
    assert np.mean(exact < low - 1e-9) <= 0.03 and np.mean(exact > high + 1e-9) <= 0.03


@pytest.mark.parametrize("median", [False, True])
@pytest.mark.parametrize(("first", "second"), [*FEW, ((3.0, 9, 1, 40, 7, 2), (1.0, 4, 1, 50, 2, 1))])
def test_the_p_value_of_few_queries_is_the_share_of_all_swaps_that_differ_as_much(first, second, median):
    reduce = statistics.median if median else statistics.fmean

    def of(swaps):
        turned = [(b, a) if swap else (a, b) for a, b, swap in zip(first, second, swaps, strict=True)]
        return reduce(b for _, b in turned) - reduce(a for a, _ in turned)

    every = [of(swaps) for swaps in itertools.product([0, 1], repeat=len(first))]
    expected = np.mean([abs(value) >= abs(every[0]) - 1e-9 for value in every])
    pairs = [(torch.tensor(first, dtype=torch.float64), torch.tensor(second, dtype=torch.float64))]
    assert paired_difference(pairs, median, num_resamples=10)[1] == expected


def test_it_agrees_with_scipy():
    first = GENERATOR.random(80)
    second = first + GENERATOR.normal(0.03, 0.1, 80)

    def difference(one, other, axis):
        return other.mean(axis) - one.mean(axis)

    words = {"n_resamples": 20_000, "rng": np.random.default_rng(1)}
    scipy_interval = stats.bootstrap((first, second), difference, paired=True, method="percentile", **words)
    interval, p_value = paired_difference([(torch.tensor(first), torch.tensor(second))], num_resamples=20_000)
    assert interval == pytest.approx(tuple(scipy_interval.confidence_interval), abs=0.001)
    swapped = stats.permutation_test((first, second), difference, permutation_type="samples", **words)
    assert 0.005 < p_value == pytest.approx(swapped.pvalue, abs=0.005)


@pytest.mark.parametrize(("number", "p_value"), [(1, 1.0), (2, 0.5), (5, 1 / 16), (8, 1 / 128)])
def test_few_queries_prove_little_even_where_all_agree(number, p_value):
    """Two of the 2^n swaps of n queries are as far apart as what was found: none, and all. Equal ones add nothing."""
    first, second = torch.zeros(number + 20), torch.cat([torch.ones(number), torch.zeros(20)])
    assert paired_difference([(first, second)], num_resamples=10)[1] == p_value


def test_pairing_cancels_how_hard_the_queries_are():
    hard = torch.tensor(GENERATOR.normal(0, 10, 200))
    (low, high), p_value = paired_difference([(hard, hard + 0.5)], num_resamples=1000)
    assert (low, high) == pytest.approx((0.5, 0.5)) and p_value == pytest.approx(1 / 10_001)


def test_equal_runs_do_not_differ():
    values = torch.tensor([1.0, 0.0, 1.0])
    assert paired_difference([(values, values)]) == ((0.0, 0.0), 1.0)


def test_queries_to_which_a_metric_does_not_apply_count_for_nothing():
    nothing = torch.full((6,), torch.nan)
    first, second = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([1.0, 1.0, 1.0])
    padded = [(torch.cat([first, nothing]), torch.cat([second, nothing]))]
    assert paired_difference(padded)[1] == paired_difference([(first, second)])[1] == 0.5


def test_medians_of_ranks_and_sets_of_unlike_size():
    ranks = torch.tensor([1.0, 2.0, 3.0, 50.0])
    assert paired_difference([(ranks, ranks + 2)], median=True)[0] == (2.0, 2.0)
    constant = [(torch.zeros(3), torch.full((3,), 0.2)), (torch.zeros(90), torch.full((90,), 0.6))]
    assert paired_difference(constant)[0] == pytest.approx((0.4, 0.4))
    with pytest.raises(ValueError, match="paired values"):
        paired_difference([(ranks, ranks[:2])])

"""The parts of the spread against plain draws of seeds and queries, and the p-value against the interval."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from diptych.studying.two_level import Panel, Spread

RNG = np.random.default_rng(0)


def values(num_arms: int, num_seeds=3, num_queries=25, seed_spread=1.0):
    """Numbers (A, S, Q): some queries are hard for all, some for an arm, and seeds are unlike."""
    rng = np.random.default_rng(1)
    of_seeds = seed_spread * rng.normal(0, 1, (num_arms, num_seeds, 1))
    of_queries = rng.normal(0, 2, num_queries) + rng.normal(0, 1, (num_arms, 1, num_queries))
    return of_seeds + of_queries + rng.normal(0, 1, (num_arms, num_seeds, num_queries))


def plain_draws(table, reduce, draw_seeds):
    """Differences (R, S) of arms 1 and 0 over draws of seeds (or every seed once), each with the draw's queries."""
    _, num_seeds, num_queries = table.shape
    seeds = RNG.integers(num_seeds, size=(20_000, num_seeds)) if draw_seeds else np.arange(num_seeds)[None]
    queries = RNG.integers(num_queries, size=(20_000, num_queries))
    control, arm = (reduce(of_arm[seeds[:, :, None], queries[:, None, :]], axis=2) for of_arm in table)
    return arm - control


def test_the_parts_are_those_of_draws_of_seeds_and_then_queries():
    """Such draws vary by what is found for these seeds, (S - 1) / S of what the seeds add, and a part of the rest."""
    spread = Panel(values(2)).spread(1, 0)
    kept, small = 2 / 3, 24 / 25  # of 3 seeds; and a drawn mean of 25 queries varies by that much less
    rest = spread.queries_alone - spread.queries
    alone = plain_draws(values(2), np.mean, draw_seeds=False).mean(1).var()
    assert spread.queries_alone * small == pytest.approx(alone, rel=0.04)
    expected = (spread.queries_alone + rest * kept) * small + spread.seeds * kept
    assert plain_draws(values(2), np.mean, draw_seeds=True).mean(1).var() == pytest.approx(expected, rel=0.04)
    assert rest > 0.05 * expected and spread.seeds > 0.5 * expected


def test_of_medians_the_parts_come_from_draws():
    panel = Panel(values(3), median=True)
    spread, again = panel.spread(1, 0), Panel(values(3)[:2], median=True).spread(1, 0)
    drawn = plain_draws(values(3)[:2], np.median, draw_seeds=False)
    alone, of_one_seed = drawn.mean(1).var(), drawn.var(0).mean()
    assert spread.queries_alone == pytest.approx(alone, rel=0.08)
    assert spread.queries == pytest.approx(alone - (of_one_seed - alone) / 2, rel=0.15)
    assert panel.per_seed == pytest.approx(np.median(values(3), axis=2))
    assert spread.queries_alone == again.queries_alone  # the same draws, whoever else takes part


def test_crossed_mean_squares_by_hand():
    """Two arms, two seeds, two queries: the arm's gains are 1 and 3 with one seed, 2 and 6 with the other."""
    table = np.zeros((2, 2, 2))
    table[1] = [[1, 3], [2, 6]]
    spread = Panel(table).spread(1, 0)
    assert spread.seeds == pytest.approx((4 - 2) ** 2 / 2 / 2)  # the variance of 2 and 4, over 2 seeds
    assert spread.queries_alone == pytest.approx((4.5 - 1.5) ** 2 / 2 / 2)
    of_one_seed = (2 + 8) / 2 / 2  # variances of (1, 3) and (2, 6), averaged, over 2 queries
    assert spread.queries == pytest.approx(spread.queries_alone - (of_one_seed - spread.queries_alone))
    assert (spread.seed_degrees, spread.query_degrees, spread.differing) == (1, 1, 2)


def test_all_arms_help_to_say_how_much_seeds_matter_and_the_larger_counts():
    """With one query a seed the pooled part is the error of an analysis of variance of arms and seeds."""
    table = values(4, 3, 1)
    means = table[:, :, 0]
    residual = means - means.mean(0) - means.mean(1, keepdims=True) + means.mean()
    pooled = 2 * (residual**2).sum() / (3 * 2) / 3
    panel = Panel(table, queries=False)
    for arm in (1, 2, 3):
        own = (means[arm] - means[0]).var(ddof=1) / 3
        spread = panel.spread(arm, 0)
        assert spread.seeds == pytest.approx(max(own, pooled))
        assert (spread.seed_degrees, spread.query_degrees, spread.differing) == (6, 0, None)
    doubled = Panel(np.concatenate([table, table[:1]]), queries=False).spread(1, 0)  # an arm that shares all its steps
    assert doubled.seeds == panel.spread(1, 0).seeds and doubled.seed_degrees == 6


def test_without_queries_two_arms_are_a_paired_t_test_over_seeds():
    table = values(2, 5, 1)
    panel = Panel(table, queries=False)
    expected = stats.ttest_rel(table[1, :, 0], table[0, :, 0])
    spread, difference = panel.spread(1, 0), panel.difference(1, 0)
    assert spread.p_value(difference) == pytest.approx(expected.pvalue, rel=1e-6)
    assert spread.interval(difference, 0.05) == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-6)


def test_with_one_seed_it_is_a_paired_t_test_over_queries():
    table = values(2, 1, 40)
    panel = Panel(table)
    expected = stats.ttest_rel(table[1, 0], table[0, 0])
    spread, difference = panel.spread(1, 0), panel.difference(1, 0)
    assert spread.p_value(difference) == pytest.approx(expected.pvalue, rel=1e-6)
    assert spread.interval(difference, 0.01) == pytest.approx(tuple(expected.confidence_interval(0.99)), rel=1e-6)


def test_the_interval_reaches_0_where_p_is_alpha():
    spread = Spread(seeds=0.02, seed_degrees=2, queries=0.01, queries_alone=0.015, query_degrees=99, differing=60)
    for alpha in (0.3, 0.05, 0.001):
        half = spread.half_width(alpha)
        assert spread.p_value(half) == spread.p_value(-half) == pytest.approx(alpha, rel=1e-6)
        assert half**2 == pytest.approx(
            stats.t.isf(alpha / 2, 2) ** 2 * 0.02 + stats.t.isf(alpha / 2, 99) ** 2 * 0.01, rel=1e-6
        )
    assert spread.p_value(0.0) == 1.0


def test_seeds_that_agree_by_chance_leave_what_the_queries_say():
    spread = Spread(seeds=0.0, seed_degrees=1, queries=0.0, queries_alone=0.04, query_degrees=10**6, differing=60)
    assert spread.half_width(0.05) == pytest.approx(1.96 * 0.2, rel=1e-3)


def test_few_queries_that_differ_prove_little_and_the_interval_says_so():
    """Five of 100 queries, all for the arm: a t-test's p would be .027, a sign test's is 2 / 32."""
    table = np.zeros((2, 1, 100))
    table[1, 0, :5] = 1
    spread = Panel(table).spread(1, 0)
    assert spread.p_value(0.05) == 1 / 16
    low, high = spread.interval(0.05, 0.05)
    assert low == 0 and high == pytest.approx(0.1)
    assert spread.interval(0.05, 0.1)[0] > 0
    table[1] = 1  # every query answered at last: no two draws are unlike
    assert Panel(table).spread(1, 0).p_value(1.0) == 1e-15


def test_the_smallest_difference_that_can_be_seen():
    """Two and a half standard errors and more: 1.96 for the interval, .84 for four times of five."""
    continuous = Spread(0.0, 0, 0.04, 0.04, 10**6, 60)
    assert continuous.smallest_seen() == pytest.approx((1.960 + 0.842) * 0.2, rel=1e-3)
    assert Spread(0.04, 1, 0.0, 0.0, 0, None).smallest_seen() == pytest.approx((12.706 + 1.376) * 0.2, rel=1e-3)
    shares = Spread(0.0, 0, 0.0004, 0.0004, 10**6, 60, answers=200)
    seen = shares.smallest_seen()
    assert seen == pytest.approx(2.802 * (0.0004 + seen * (1 - seen) / 200) ** 0.5, rel=1e-3)

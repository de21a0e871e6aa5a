"""p-values of paired randomisation, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from diptych.metrics.randomisation import randomisation_p_values


def of_sums(*differences):
    """The statistic of the sum of each row of differences."""
    return lambda swaps: np.stack([(1 - 2 * swaps) @ np.array(row, dtype=float) for row in differences], axis=1)


def test_three_items_on_paper():
    """Of 1, 2 and -1 the sums are 4, 2, 2, 0 and their opposites: six of eight are as far from 0 as the 2 found. Of 1,
    2 and 1 it is two of eight.
    """
    found = randomisation_p_values(np.ones(3, dtype=bool), of_sums([1, 2, -1], [1, 2, 1]))
    assert found.tolist() == [6 / 8, 2 / 8]


def test_items_that_do_not_differ_are_not_swapped():
    differs = np.arange(1000) < 10
    found = randomisation_p_values(differs, of_sums(differs))
    assert found.tolist() == [2 / 1024]  # exact, although a thousand items have no end of swaps
    assert randomisation_p_values(np.zeros(4, dtype=bool), of_sums([0] * 4)).tolist() == [1.0]


def test_many_items_are_swapped_at_random_and_the_found_one_counts():
    rng = np.random.default_rng(1)
    few, many = rng.normal(size=13), np.ones(40)
    exact = randomisation_p_values(np.ones(13, dtype=bool), of_sums(few))[0]
    drawn = randomisation_p_values(np.ones(40, dtype=bool), of_sums([*few, *[0] * 27], many))
    assert drawn[0] == pytest.approx(exact, abs=0.02) and drawn[1] == 1 / 10_001
    again = randomisation_p_values(np.ones(40, dtype=bool), of_sums([*few, *[0] * 27], many))
    assert drawn.tolist() == again.tolist()


def test_swaps_that_leave_nothing_to_compare_are_not_counted():
    def statistic(swaps):
        values = of_sums([1, 1])(swaps)
        return np.where(values == 0, np.nan, values)

    assert randomisation_p_values(np.ones(2, dtype=bool), statistic).tolist() == [1.0]

"""Adjusted p-values worked out by hand, and the levels that go with them."""

from __future__ import annotations

import numpy as np
import pytest

from diptych.studying.holm import holm


def test_an_example_by_hand():
    """.005 x 4; .01 x 3; .03 x 2 does not pass, so that it and the larger one are left at its level."""
    adjusted, levels = holm([0.01, 0.04, 0.03, 0.005], 0.05)
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert levels == pytest.approx([0.05 / 3, 0.05 / 2, 0.05 / 2, 0.05 / 4])


def test_p_is_below_its_level_where_the_adjusted_p_is_below_alpha():
    rng = np.random.default_rng(0)
    for number in rng.integers(1, 9, 200):
        p_values = (rng.random(number) ** 4).tolist()
        adjusted, levels = holm(p_values, 0.05)
        assert [p < level for p, level in zip(p_values, levels, strict=True)] == [p < 0.05 for p in adjusted]
        assert all(0.05 / number <= level <= 0.05 for level in levels)


def test_one_comparison_is_left_alone_and_none_are_none():
    assert holm([0.2], 0.05) == ([0.2], [0.05])
    assert holm([], 0.05) == ([], [])

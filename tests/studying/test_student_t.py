"""Tails and quantiles against scipy's and against what is known in closed form."""

from __future__ import annotations

import math

import pytest
from scipy import special

from diptych.studying.student_t import quantile, two_sided_p


@pytest.mark.parametrize("degrees", [1, 2, 3, 6, 30, 499, 100_000])
@pytest.mark.parametrize("alpha", [1 - 1e-6, 0.4, 0.05, 0.05 / 40, 1e-15])
def test_quantiles_and_tails_agree_with_scipy(degrees, alpha):
    value = quantile(alpha, degrees)
    assert value == pytest.approx(-special.stdtrit(degrees, alpha / 2), rel=1e-9, abs=1e-9)
    assert two_sided_p(value, degrees) == pytest.approx(alpha, rel=1e-9)


def test_one_and_two_degrees_are_known_in_closed_form():
    assert quantile(0.05, 1) == pytest.approx(math.tan(math.pi / 2 * 0.95))  # 12.7
    assert two_sided_p(3.0, 2) == pytest.approx(1 - 3 / math.sqrt(11))

"""Student's t distribution: its two tails together, and the value that they begin at."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

_EXACT = 1e-13  # relative


def two_sided_p(value: float, degrees: int) -> float:
    """The probability that |t| exceeds `value` (positive), of `degrees` of freedom: I_x(degrees / 2, 1 / 2) with
    x = degrees / (degrees + value^2), the regularised incomplete beta function (Abramowitz and Stegun 1964, 26.7.1).
    """
    square = value * value
    return _incomplete_beta(degrees / (degrees + square), square / (degrees + square), degrees / 2, 0.5)


@lru_cache(maxsize=4096)
def quantile(alpha: float, degrees: int) -> float:
    """The value that |t| exceeds with probability `alpha`, which lies between 0 and 1: 12.7 of .05 and 1 degree."""
    # Newton's method on log p over log t, which is concave and nearly straight: a few steps from the normal's value.
    value = -NormalDist().inv_cdf(alpha / 2)
    constant = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - math.log(degrees * math.pi) / 2
    for _ in range(100):
        p = two_sided_p(value, degrees)
        density = 2 * math.exp(constant - (degrees + 1) / 2 * math.log1p(value * value / degrees))
        step = p * math.log(p / alpha) / (value * density)
        value *= math.exp(step)
        if abs(step) < _EXACT * 10:
            break
    return value


def _incomplete_beta(x: float, rest: float, a: float, b: float) -> float:
    """I_x(a, b) with `rest` = 1 - x, which may be too small to be had from x, by its continued fraction (NIST's Digital
    Library of Mathematical Functions, 8.17.22), evaluated with Lentz's method.
    """
    if x > (a + 1) / (a + b + 2):  # where the fraction of the other side converges faster
        return 1 - _incomplete_beta(rest, x, b, a) if rest > 0 else 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest)
    denominator = 1 / (1 - (a + b) * x / (a + 1))
    numerator, fraction = 1.0, denominator
    for m in range(1, 1000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            denominator = 1 / (1 + term * denominator)
            numerator = 1 + term / numerator
            fraction *= denominator * numerator
        if abs(denominator * numerator - 1) < _EXACT:
            break
    return math.exp(log_front) * fraction / a

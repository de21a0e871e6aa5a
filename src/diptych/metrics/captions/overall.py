"""The one number of EVENTA 2025's board (Track 1): how well articles were found and captions written."""

from __future__ import annotations

_WEIGHTS = {"average_precision": 1, "recall_at_1": 2, "recall_at_10": 2, "clip_score": 3, "cider": 2}
_EPSILON = 1e-8


def overall(
    average_precision: float,
    recall_at_1: float,
    recall_at_10: float,
    clip_score: float,
    cider: float,
    valid: int,
    expected: int,
) -> float:
    """Weighted harmonic mean of the five, times the share of queries with a valid answer.

    Retrieval enters as fractions, `clip_score` on the published scale (2.5 times the cosine) and `cider` unscaled,
    0.156 and not 15.6. The lowest counts most: one value of 0 makes the whole practically 0.

    Raises:
        ValueError: a value is negative or not a number, a fraction is above 1, or the counts do not fit together.
    """
    values = dict(zip(_WEIGHTS, (average_precision, recall_at_1, recall_at_10, clip_score, cider), strict=True))
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"{name} is {value}; expected a number from 0")
        if value > 1 and name in ("average_precision", "recall_at_1", "recall_at_10"):
            raise ValueError(f"{name} is {value}; expected a fraction, not percent")
    if not 0 <= valid <= expected or not expected:
        raise ValueError(f"{valid} valid answers of {expected} queries; expected at most as many answers as queries")
    total = sum(weight / (values[name] + _EPSILON) for name, weight in _WEIGHTS.items())
    return valid / expected * sum(_WEIGHTS.values()) / total

"""Many comparisons at once: p-values that stay honest, and the level at which each was tested."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float], alpha: float) -> tuple[list[float], list[float]]:
    """The adjusted p-values, and the significance level at which each comparison was tested.

    The smallest of m p-values is tested at alpha / m, the next at alpha / (m - 1), and so on up to the first that does
    not pass; it and all larger ones are left at its level. So p is below its level where, and only where, the adjusted
    p is below alpha. The chance of any false finding is at most alpha, however the comparisons hang together.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure (Scandinavian Journal of Statistics 1979).
    """
    adjusted, levels = [1.0] * len(p_values), [alpha] * len(p_values)
    largest, level = 0.0, 0.0
    for step, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        remaining = len(p_values) - step
        if largest < alpha:
            level = alpha / remaining
        largest = max(largest, min(1.0, remaining * p_values[place]))
        adjusted[place], levels[place] = largest, level
    return adjusted, levels

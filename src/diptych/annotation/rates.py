"""Rates over pairs, with intervals, and their differences between two ways of annotating the same pairs.

What is counted is summed over the pairs first; pairs are what is drawn again, since the sentences of one pair depend on
each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from diptych.metrics.randomisation import randomisation_p_values
from diptych.metrics.wilson import wilson_interval

Counts = Mapping[str, int]
Rates = Mapping[str, tuple[str, str]]  # by name what is counted, and what it is a share of

_LEVEL = (0.025, 0.975)


def share_interval(part: int, whole: int) -> list[float] | None:
    """[low, high], the 95 % interval of a share of what does not come in pairs (Wilson 1927); None of nothing."""
    return list(wilson_interval(part, whole)) if whole else None


def rates_of(counts: Sequence[Counts], rates: Rates, num_resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Each of `rates` over all pairs: `{"rate", "interval": [low, high], "part", "of"}`, the last two the numbers
    that it is the share of.

    `counts` are those of the pairs. The 95 % interval is the percentile bootstrap's over pairs (Efron and Tibshirani,
    An Introduction to the Bootstrap, 1993, chapter 13). Where all draws agree, as for a rate of 0, it would have no
    width, and is Wilson's of the pairs that count instead. Equal arguments give equal intervals. A rate of nothing is
    None, without interval.
    """
    table, drawn = _tables(counts, rates, num_resamples, seed)
    summary: dict[str, Any] = {}
    for name, (part, whole) in rates.items():
        total = int(table[whole].sum())
        entry: dict[str, Any] = {"rate": None, "interval": None, "part": int(table[part].sum()), "of": total}
        if total:
            entry["rate"] = rate = float(table[part].sum() / total)
            shares = drawn[part][drawn[whole] > 0] / drawn[whole][drawn[whole] > 0]
            if np.ptp(shares) > 0:
                entry["interval"] = np.quantile(shares, _LEVEL).tolist()
            else:
                num_pairs = int((table[whole] > 0).sum())
                entry["interval"] = list(wilson_interval(rate * num_pairs, num_pairs))
        summary[name] = entry
    return summary


def differences_of(
    first: Sequence[Counts], second: Sequence[Counts], rates: Rates, num_resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """How each of `rates` of `second` differs from `first`, on the same pairs in the same order:
    `{"difference", "interval": [low, high], "p"}`; None for a rate that one of them has not.

    The 95 % interval draws pairs with replacement, the same draws for both, so that a pair that is hard for both says
    nothing. `p` is that of no difference, two-sided: `randomisation_p_values`, where all counts of a pair are swapped
    together. It holds for few pairs too, where that of a bootstrap is too small.

    Raises:
        ValueError: the numbers of pairs differ.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} pairs beside {len(second)}: differences are of the same pairs")
    (one, drawn_one), (other, drawn_other) = (_tables(c, rates, num_resamples, seed) for c in (first, second))
    compared = {name: of for name, of in rates.items() if one[of[1]].sum() and other[of[1]].sum()}
    names = sorted(one)
    before, after = (np.stack([way[name] for name in names], axis=1) for way in (one, other))
    change = after - before

    def swapped(swaps: np.ndarray) -> np.ndarray:
        moved = swaps @ change
        both = (before.sum(0) + moved, after.sum(0) - moved)
        this, that = (dict(zip(names, way.T, strict=True)) for way in both)
        shares = [_share_differences(this, that, part, whole) for part, whole in compared.values()]
        return np.stack(shares, axis=1)

    p_values = randomisation_p_values(change.any(1), swapped, seed) if compared else ()
    found: dict[str, Any] = dict.fromkeys(rates)
    for (name, (part, whole)), p_value in zip(compared.items(), p_values, strict=True):
        draws = _share_differences(drawn_one, drawn_other, part, whole)
        found[name] = {
            "difference": float(other[part].sum() / other[whole].sum() - one[part].sum() / one[whole].sum()),
            "interval": np.quantile(draws[~np.isnan(draws)], _LEVEL).tolist(),
            "p": float(p_value),
        }
    return found


def _share_differences(
    one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], part: str, whole: str
) -> np.ndarray:
    """NaN where one of them is a share of nothing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = other[part] / other[whole] - one[part] / one[whole]
    return np.where((one[whole] > 0) & (other[whole] > 0), difference, np.nan)


def _tables(
    counts: Sequence[Counts], rates: Rates, num_resamples: int, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """By name what is counted, for each pair (P,) and summed over each draw of pairs (num_resamples,)."""
    names = sorted({name for pair in rates.values() for name in pair})
    table = np.array([[pair[name] for name in names] for pair in counts], dtype=np.float64).reshape(-1, len(names))
    rng = np.random.default_rng(seed)
    drawn = [table[rng.integers(len(counts), size=len(counts))].sum(0) for _ in range(num_resamples if counts else 0)]
    sums = np.array(drawn).reshape(-1, len(names))
    return dict(zip(names, table.T, strict=True)), dict(zip(names, sums.T, strict=True))


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells in columns; the first column is that of the headings."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def rate_cell(entry: Mapping[str, Any]) -> str:
    """A rate in percent with its interval."""
    if entry["rate"] is None:
        return "none"
    low, high = entry["interval"]
    return f"{100 * entry['rate']:.1f} [{100 * low:.1f}, {100 * high:.1f}] of {entry['of']:,}"


def difference_table(against: str, differences: Mapping[str, Mapping[str, Any]], rates: Sequence[str]) -> str:
    """How other ways differ from `against`, in percentage points with interval and p, a column for each of them."""
    rows = [["in percentage points", *(f"{way} - {against}" for way in differences)]]
    for rate in rates:
        rows.append([rate.replace("_", " "), *(_difference_cell(of_way[rate]) for of_way in differences.values())])
    return text_table(rows)


def _difference_cell(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return "none"
    low, high = entry["interval"]
    return f"{100 * entry['difference']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] p = {entry['p']:.4f}"

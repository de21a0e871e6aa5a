"""Rates over pairs, with intervals, and their differences between two ways of annotating the same pairs.

What is counted is summed over the pairs first; pairs are what is drawn again, since the sentences of one pair depend on
each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Counts = Mapping[str, int]
Rates = Mapping[str, tuple[str, str]]  # by name what is counted, and what it is a share of

NUM_SWAPS = 10_000
_LEVEL = (0.025, 0.975)
_CHUNK_VALUES = 2**22  # swaps held at once
_ROUNDING = 1e-12


def wilson_interval(successes: float, total: int, z: float = 1.959964) -> tuple[float, float]:
    """The score interval of a share (Wilson 1927), 95 % by default. Raises ValueError for a share of nothing."""
    if not 0 <= successes <= total or total == 0:
        raise ValueError(f"{successes} of {total} is no share")
    share, square = successes / total, z * z / total
    centre = (share + square / 2) / (1 + square)
    half = z * math.sqrt(share * (1 - share) / total + square / (4 * total)) / (1 + square)
    return max(0.0, centre - half), min(1.0, centre + half)


def rates_of(counts: Sequence[Counts], rates: Rates, num_resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Each of `rates` over all pairs: `{"rate", "interval": [low, high], "of": the number that it is a share of}`.

    `counts` are those of the pairs. The 95 % interval is the percentile bootstrap's over pairs (Efron and Tibshirani,
    An Introduction to the Bootstrap, 1993, chapter 13). Where all draws agree, as for a rate of 0, it would have no
    width, and is Wilson's of the pairs that count instead. Equal arguments give equal intervals. A rate of nothing is
    None, without interval.
    """
    table, drawn = _tables(counts, rates, num_resamples, seed)
    summary: dict[str, Any] = {}
    for name, (part, whole) in rates.items():
        total = int(table[whole].sum())
        entry: dict[str, Any] = {"rate": None, "interval": None, "of": total}
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
    nothing. `p` is that of no difference, two-sided, by approximate randomisation: both ways are swapped in each pair
    or not, at random, and p is the share of `NUM_SWAPS` such draws whose difference is as large, the one found counted
    in. It holds for few pairs too, where that of a bootstrap is too small: five pairs that all speak for one way are
    not below 1/16.

    Source: Noreen, Computer-Intensive Methods for Testing Hypotheses (1989), chapter 2.

    Raises:
        ValueError: the numbers of pairs differ.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} pairs beside {len(second)}: differences are of the same pairs")
    (one, drawn_one), (other, drawn_other) = (_tables(c, rates, num_resamples, seed) for c in (first, second))
    swapped_one, swapped_other = _swapped(one, other, seed)
    found: dict[str, Any] = {}
    for name, (part, whole) in rates.items():
        if not (one[whole].sum() and other[whole].sum()):
            found[name] = None
            continue
        difference = float(other[part].sum() / other[whole].sum() - one[part].sum() / one[whole].sum())
        draws, swaps = (
            _share_differences(*both, part, whole) for both in ((drawn_one, drawn_other), (swapped_one, swapped_other))
        )
        as_large = int((np.abs(swaps) >= abs(difference) - _ROUNDING).sum())
        found[name] = {
            "difference": difference,
            "interval": np.quantile(draws, _LEVEL).tolist(),
            "p": (as_large + 1) / (len(swaps) + 1),
        }
    return found


def _share_differences(
    one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], part: str, whole: str
) -> np.ndarray:
    valid = (one[whole] > 0) & (other[whole] > 0)
    difference: np.ndarray = other[part][valid] / other[whole][valid] - one[part][valid] / one[whole][valid]
    return difference


def _swapped(
    one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], seed: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The sums (NUM_SWAPS,) of both ways, after they were swapped in half of the pairs, drawn anew each time."""
    tables = [np.stack(list(way.values()), axis=1) for way in (one, other)]
    change = tables[1] - tables[0]
    rng = np.random.default_rng(seed)
    rows = max(1, _CHUNK_VALUES // max(1, len(change)))
    starts = range(0, NUM_SWAPS, rows)
    moved = np.concatenate(
        [rng.integers(2, size=(min(rows, NUM_SWAPS - start), len(change))) @ change for start in starts]
    )
    sums = tables[0].sum(0) + moved, tables[1].sum(0) - moved
    first, second = (dict(zip(one, way.T, strict=True)) for way in sums)
    return first, second


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

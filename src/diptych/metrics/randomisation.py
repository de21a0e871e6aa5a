"""Paired randomisation: is a difference between two systems on the same items more than luck with the items?

If neither is better, each item could as well have had the two answers the other way round. The p-value is the share of
such swaps that differ as much as what was found.

Source: Noreen, Computer-Intensive Methods for Testing Hypotheses (1989), chapter 2; on retrieval's queries: Smucker,
Allan and Carterette, A Comparison of Statistical Significance Tests for Information Retrieval Evaluation (CIKM 2007).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

NUM_SWAPS = 10_000
_ALL_SWAPS_UP_TO = 13  # items: 2 ** 13 swaps are fewer than are drawn otherwise
_CHUNK_VALUES = 2**22  # held at once
_ROUNDED = 1e-7  # swaps that are equal in exact numbers differ by less


def randomisation_p_values(
    differs: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], seed: int = 0
) -> np.ndarray:
    """The two-sided p-values (S,) of S differences over P items, of no difference between the two systems.

    `statistic` gives the differences (R, S) for rows of swaps (R, P), float64, 1 where an item's two answers change
    places. Without a swap they are those that were found. NaN, where a swap leaves nothing to compare, is not counted.
    `differs` (P,) says which items have two unlike answers. Of up to 13 such items all swaps are looked at, and the
    values are exact; of more, 10,000 random ones, with the one found counted in. Few items give no small values: n that
    differ at least 2 ** (1 - n). Equal arguments give equal values.
    """
    found = statistic(np.zeros((1, len(differs))))[0]
    tolerance = _ROUNDED * np.maximum(1.0, np.abs(found))
    as_large, counted = np.zeros(len(found), dtype=np.int64), np.zeros(len(found), dtype=np.int64)
    places = np.flatnonzero(differs)
    exact = len(places) <= _ALL_SWAPS_UP_TO
    for rows in _all_swaps(places, len(differs)) if exact else _random_swaps(len(differs), seed):
        swapped = statistic(rows)
        as_large += (np.abs(swapped) >= np.abs(found) - tolerance).sum(0)  # NaN is not
        counted += (~np.isnan(swapped)).sum(0)
    own = 0 if exact else 1
    values: np.ndarray = (as_large + own) / (counted + own)
    return values


def _all_swaps(places: np.ndarray, num_items: int) -> Iterator[np.ndarray]:
    """Every way to swap the items at `places` and no others."""
    numbers = np.arange(2 ** len(places))
    rows = _rows_at_once(num_items)
    for start in range(0, len(numbers), rows):
        bits = numbers[start : start + rows, None] >> np.arange(len(places)) & 1
        swaps = np.zeros((len(bits), num_items))
        swaps[:, places] = bits
        yield swaps


def _random_swaps(num_items: int, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = _rows_at_once(num_items)
    for start in range(0, NUM_SWAPS, rows):
        yield rng.integers(2, size=(min(rows, NUM_SWAPS - start), num_items)).astype(np.float64)


def _rows_at_once(num_items: int) -> int:
    return max(1, _CHUNK_VALUES // max(1, num_items))

import math

import pytest

from diptych.metrics.captions.overall import overall

# EVENTA's board: average precision, recall at 1 and 10, CLIPScore, CIDEr; the formula on them; what the board shows.
ROWS = [
    ((0.955, 0.945, 0.973, 0.732, 0.156), 0.45171, 0.45148),
    ((0.991, 0.989, 0.995, 0.826, 0.210), 0.54954, 0.5501),
    ((0.966, 0.955, 0.983, 0.828, 0.133), 0.41973, 0.4200),
    ((0.708, 0.663, 0.801, 0.783, 0.081), 0.28210, 0.2824),
    ((0.994, 0.990, 1.0, 0.748, 0.195), 0.51831, 0.51815),
]


@pytest.mark.parametrize(("values", "computed", "board"), ROWS)
def test_the_rows_of_the_board(values, computed, board):
    assert overall(*values, valid=2000, expected=2000) == pytest.approx(computed, abs=5e-6)
    assert computed == pytest.approx(board, abs=6e-4)  # the board's own inputs are rounded


def test_equal_values_are_their_own_mean_and_missing_answers_cost_their_share():
    assert overall(*[0.4] * 5, valid=10, expected=10) == pytest.approx(0.4)
    assert overall(*[0.4] * 5, valid=9, expected=10) == pytest.approx(0.36)


def test_one_zero_makes_nothing_of_the_rest():
    assert overall(1, 1, 1, 1, 0, valid=1, expected=1) == pytest.approx(5e-8, rel=1e-6)


@pytest.mark.parametrize(
    ("values", "counts", "message"),
    [
        ((0.5, 94.5, 0.5, 0.5, 0.5), (1, 1), "recall_at_1 is 94.5; expected a fraction, not percent"),
        ((0.5, 0.5, 0.5, -0.1, 0.5), (1, 1), "clip_score is -0.1"),
        ((0.5, 0.5, 0.5, 0.5, math.nan), (1, 1), "cider is nan"),
        ((0.5, 0.5, 0.5, 0.5, 0.5), (2, 1), "2 valid answers of 1 queries"),
        ((0.5, 0.5, 0.5, 0.5, 0.5), (0, 0), "0 valid answers of 0 queries"),
    ],
)
def test_impossible_values_are_refused(values, counts, message):
    with pytest.raises(ValueError, match=message):
        overall(*values, *counts)

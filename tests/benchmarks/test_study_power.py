"""Studies without differences find none; effects as large as a study says it can see are found four times of five."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = str(Path(__file__).resolve().parents[2] / "benchmarks")
if BENCHMARKS not in sys.path:
    sys.path.append(BENCHMARKS)  # last: no file there may hide another module

from study_power import Size, simulate  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "size",
    [
        Size("recall", 2, 2, 200, 0.02),
        Size("recall", 4, 2, 200, 0.02),
        Size("recall", 4, 3, 200, 0.02),
        Size("recall", 3, 5, 100, 0.005),
        Size("recall", 4, 1, 200, 0.0),
        Size("cider", 4, 3, 150, 0.02),
        Size("cider", 4, 3, 0, 0.02),
    ],
    ids=str,
)
def test_few_false_findings_and_the_power_that_is_stated(size):
    found = simulate(size, num_studies=100, num_planted=60)
    # With one seed the tests are plain t-tests, neither careful nor careless: 5 of 100, and two standard errors.
    assert found["false"] <= (0.05 if size.seeds > 1 else 0.093)
    assert found["held"] >= 0.93  # of 95 %, as far as 100 studies can tell
    assert 0.7 <= found["found"] <= 0.98  # of 80 %; a standard error is 5 %

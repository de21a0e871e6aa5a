"""Tasks in several processes: results in order, faults passed on."""

from __future__ import annotations

from functools import partial

import pytest

from diptych.storage.processes import run_tasks


@pytest.mark.parametrize("num_workers", [1, 2])
def test_results_are_in_the_order_of_the_tasks(num_workers):
    assert run_tasks(partial(pow, 2), list(range(9)), num_workers, 2, "counting", False) == [2**n for n in range(9)]


def test_a_fault_of_a_task_comes_through():
    with pytest.raises(ZeroDivisionError):
        run_tasks(partial(pow, 0), [1, -1], 1, 1, "counting", False)

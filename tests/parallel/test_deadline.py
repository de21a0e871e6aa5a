"""Calls that hang are left behind."""

from __future__ import annotations

import threading

import pytest

import patience
from diptych.parallel.deadline import within


def test_what_a_call_gives_or_raises_comes_back():
    assert within(patience.SECONDS, lambda: 3, "counting") == 3
    with pytest.raises(KeyError, match="a"):
        within(patience.SECONDS, lambda: {}["a"], "looking")


@pytest.mark.parametrize("seconds", [0.05, 0, -1])
def test_a_call_that_hangs_is_left_behind(seconds):
    over = threading.Event()
    with pytest.raises(TimeoutError, match=rf"waiting takes longer than {max(seconds, 0)} s"):
        within(seconds, over.wait, "waiting")
    over.set()

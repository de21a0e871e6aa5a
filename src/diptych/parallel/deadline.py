"""Calls that may hang in what no time limit reaches, such as looking up a name: they are waited for until a time."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def in_background(call: Callable[[], _T], name: str) -> concurrent.futures.Future[_T]:
    """What the call gives or raises, from a thread that nothing waits for, the end of the process neither: it is left
    behind where the call does not return.
    """
    future: concurrent.futures.Future[_T] = concurrent.futures.Future()

    def run() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name=name).start()
    return future


def within(seconds: float, call: Callable[[], _T], name: str) -> _T:
    """What the call gives or raises; TimeoutError where it has not after so many seconds."""
    future = in_background(call, name)
    done, _ = concurrent.futures.wait([future], max(seconds, 0.0))
    if not done:
        raise TimeoutError(f"{name} takes longer than {max(seconds, 0.0):.3g} s")
    return future.result()

"""Work that is spread over processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing.connection import wait
from typing import TypeVar

import cv2
from rich.progress import track

from diptych.storage.cores import usable_cores

Task = TypeVar("Task")
Result = TypeVar("Result")


def run_tasks(
    function: Callable[[Task], Result],
    tasks: Sequence[Task],
    num_workers: int | None,
    chunk_size: int,
    description: str,
    show_progress: bool,
) -> list[Result]:
    """The function's results in the order of the tasks, from `num_workers` processes (None: one a processor).

    The processes have ended when this returns or raises, so that the folder that they write to can be removed.
    """
    with closing(_results(function, tasks, num_workers or usable_cores(), chunk_size)) as results:
        return list(track(results, description=description, total=len(tasks), disable=not show_progress))


def _results(
    function: Callable[[Task], Result], tasks: Sequence[Task], num_workers: int, chunk_size: int
) -> Generator[Result, None, None]:
    if num_workers == 1:
        yield from map(function, tasks)
        return
    # spawn: a fork of a process that already runs threads (torch, OpenCV) can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_workers, context, initializer=_begin) as pool:
        yield from pool.map(function, tasks, chunksize=chunk_size)


def _begin() -> None:
    end_with_parent()
    cv2.setNumThreads(1)


def end_with_parent() -> None:
    """Has this process, a worker, end when the one that started it is gone, however that ended: a worker of a pool
    waits for the next task, and would for ever.
    """
    if (parent := multiprocessing.parent_process()) is not None:
        threading.Thread(target=_wait_for_end_of, args=(parent.sentinel,), daemon=True).start()


def _wait_for_end_of(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)

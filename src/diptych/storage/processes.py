"""Work that is spread over processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from typing import TypeVar

import cv2
from rich.progress import track

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
    with closing(_results(function, tasks, num_workers or os.cpu_count() or 1, chunk_size)) as results:
        return list(track(results, description=description, total=len(tasks), disable=not show_progress))


def _results(
    function: Callable[[Task], Result], tasks: Sequence[Task], num_workers: int, chunk_size: int
) -> Generator[Result, None, None]:
    if num_workers == 1:
        yield from map(function, tasks)
        return
    # spawn: a fork of a process that already runs threads (torch, OpenCV) can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_workers, context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield from pool.map(function, tasks, chunksize=chunk_size)

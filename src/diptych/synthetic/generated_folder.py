"""What the generated sets share: a folder that is there complete or not at all, and processes that fill it."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import cv2
from rich.progress import track

from diptych.storage.file_lock import locked

Task = TypeVar("Task")
Result = TypeVar("Result")

logger = logging.getLogger(__name__)


def generate_folder(
    root: Path, name: str, manifest_name: str, manifest: Mapping[str, Any], write: Callable[[Path], None]
) -> Path:
    """Have `write` fill the folder `root`, and return its absolute path; a complete one is left as it is.

    `write` gets a hidden folder beside `root`, which is renamed when it returns, and removed when it fails. It must
    write `manifest` as JSON into the file `manifest_name`, last: the file is there exactly when the set is complete.
    `name` is what errors call the set (`rooms`). Of several processes one writes, and the others wait for it.

    Raises:
        ValueError: `root` holds anything else, or a set with another manifest.
    """
    root = Path(root).absolute()
    if _is_complete(root, name, root / manifest_name, manifest):
        logger.info("%s holds this %s set already", root, name)
        return root
    with locked(root.with_name(f".{root.name}.lock")):
        if not _is_complete(root, name, root / manifest_name, manifest):  # another process's, meanwhile
            _fill(root, write)
    return root


def _fill(root: Path, write: Callable[[Path], None]) -> None:
    partial = root.with_name(f".{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # what a killed run has left
    partial.mkdir(parents=True)
    try:
        write(partial)
        partial.rename(root)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


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
) -> Iterator[Result]:
    if num_workers == 1:
        yield from map(function, tasks)
        return
    # spawn: a fork of a process that already runs threads (torch, OpenCV) can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_workers, context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield from pool.map(function, tasks, chunksize=chunk_size)


def _is_complete(root: Path, name: str, path: Path, manifest: Mapping[str, Any]) -> bool:
    """Whether the set is there; False for a missing or empty folder, ValueError for one that holds something else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    if not path.is_file():
        raise ValueError(f"{root} is not empty and has no {path.name}: choose another folder, or remove this one")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}): remove {root} and generate again") from error
    if found != manifest:
        raise ValueError(
            f"{path} describes another {name} set ({found}) than the one asked for ({dict(manifest)}): "
            f"choose another folder, or remove {root}"
        )
    return True

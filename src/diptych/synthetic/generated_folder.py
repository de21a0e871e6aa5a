"""A generated set's folder: there complete, or not at all."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from diptych.storage.file_lock import locked

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

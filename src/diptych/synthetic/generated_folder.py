"""A generated set's folder: there complete, or not at all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from diptych.storage.file_lock import lock_file, locked
from diptych.storage.json_files import read_json
from diptych.storage.whole import remove_unfinished, whole_folder

log = logging.getLogger(__name__)


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
        log.info("%s holds this %s set already", root, name)
        return root
    with locked(lock_file(root), advice=f"the {name} set is made there: name another folder, data_dir=DIR"):
        if not _is_complete(root, name, root / manifest_name, manifest):  # another process's, meanwhile
            remove_unfinished(root.parent, root.name)
            with whole_folder(root, durable=False) as partial:
                write(partial)
    return root


def _is_complete(root: Path, name: str, path: Path, manifest: Mapping[str, Any]) -> bool:
    """Whether the set is there; False for a missing or empty folder, ValueError for one that holds something else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    if not path.is_file():
        raise ValueError(f"{root} is not empty and has no {path.name}: choose another folder, or remove this one")
    found = read_json(path, f"remove {root} and generate again")
    if found != manifest:
        raise ValueError(
            f"{path} describes another {name} set ({found!r:.400}) than the one asked for ({dict(manifest)}): "
            f"choose another folder, or remove {root}"
        )
    return True

"""Folders of commands that failed before they did anything: they are not left behind."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from diptych.storage.file_lock import try_lock

# What is made before anything is done: by Hydra, by locks, and by who notes how a run goes.
_LOCKS = (".lock", ".pipeline.lock")
_RECORDS = (".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml", "status.json")


def remove_unbegun(folder: Path, within: Path, with_it: bool = True) -> bool:
    """Removes the `folder` of a command if nothing but its bookkeeping is in it, then those above it that are empty, as
    far as they lie in `within`, which goes too if `with_it`. Returns whether it was removed; what another process is at
    work in, and what holds anything else, stays as it is.
    """
    if not folder.is_dir() or folder.is_symlink():
        return False
    files = [path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()]
    bookkeeping = [
        path for path in files if str(path.relative_to(folder)) in (*_LOCKS, *_RECORDS) or _is_log(path, folder)
    ]
    if len(bookkeeping) != len(files):
        return False
    with suppress(ValueError, OSError):
        held = [try_lock(path) for path in files if path.name in _LOCKS]
        if None not in held:
            for path in files:
                path.unlink()
            for path in sorted((path for path in folder.rglob("*")), reverse=True):
                path.rmdir()
            folder.rmdir()
            for above in folder.absolute().parents:
                if not above.is_relative_to(within.absolute()) or any(above.iterdir()):
                    break
                if above == within.absolute() and not with_it:
                    break
                above.rmdir()
        for file in filter(None, held):
            file.close()
    return not folder.exists()


def _is_log(path: Path, folder: Path) -> bool:
    return path.parent == folder and path.suffix == ".log" and path.is_file()

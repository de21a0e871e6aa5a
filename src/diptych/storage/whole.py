"""Files and folders that are there whole, or as they were: whatever kills the writer, or the machine.

All is written under a temporary name beside its place (`.NAME.PID-RANDOM.tmp`, which no other writer has), put on the
disk, renamed, and the rename put on the disk too. What a killed writer leaves behind is never read; whoever is a
folder's only writer deletes it with `remove_unfinished`.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO

from diptych.storage.json_values import encodable

_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNFINISHED = re.compile(
    r"\.?(.+?)(?:\.\d+(?:-[0-9a-f]+)?)?\.tmp"
    r"|\.(.+)\.(?:link|partial)|\.unfinished-(.+)"  # names that earlier versions used, as those without PID or dot
)


def write_file(path: Path, data: bytes) -> None:
    """Writes the file in one step, and makes its folder if needed.

    Raises:
        OSError: the disk does not take it; names the file, and what was there before is untouched.
    """
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """As `write_file`, a text: in UTF-8, and as `encodable` has it, so that no text makes this fail."""
    write_file(path, encodable(text).encode())


@contextmanager
def disk_named(path: Path) -> Iterator[None]:
    """Makes what a full disk raises in the block name `path` and say so: the system names no file where it writes."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL or error.filename == str(path):
            raise
        raise OSError(error.errno, f"the disk is full: {os.strerror(error.errno)}", str(path)) from error


@contextmanager
def whole_file(path: Path, durable: bool = True) -> Iterator[Path]:
    """Gives the name of a file to write, which becomes `path` when the block ends, and is deleted when it raises.

    The folder is made if needed. With `durable` false nothing waits for the disk: after a crash of the machine (not of
    the process) the file may be damaged, so its reader must notice that, by a checksum.
    """
    temporary = _beside(path)
    try:
        with disk_named(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            if durable:
                _sync_path(temporary)
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink()
    if durable:
        sync_folder(path.parent)


@contextmanager
def whole_folder(path: Path, durable: bool = True) -> Iterator[Path]:
    """Gives an empty folder to fill, which becomes `path` when the block ends, and is deleted when it raises.

    With `durable` false nothing waits for the disk (5 ms and more a file), for what can be made again.

    Raises:
        OSError: the disk does not take it, or `path` is a file or a folder with anything in it.
    """
    temporary = _beside(path)
    try:
        with disk_named(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            yield temporary
            if durable:
                for folder, _, names in os.walk(temporary, topdown=False):
                    for name in (*names, ""):
                        _sync_path(Path(folder, name))
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if durable:
        sync_folder(path.parent)


def claim_folder(path: Path) -> Path:
    """Makes a folder that was not there, and that no other process has: `path`, or `path` with `-2`, `-3` and so on
    behind its name. The folders above are made if needed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for name in itertools.chain([path.name], (f"{path.name}-{number}" for number in itertools.count(2))):
        with suppress(FileExistsError):
            path.with_name(name).mkdir()
            return path.with_name(name)
    raise AssertionError("there is always a next number")


def write_link(path: Path, target: str) -> None:
    """Makes `path` a symbolic link to `target`, in one step, also where it was another link."""
    temporary = _beside(path)
    try:
        temporary.symlink_to(target)
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink()
    sync_folder(path.parent)


def write_same(path: Path, source: Path) -> None:
    """Gives the content of a file that is written whole a second name, `path`, in one step and without room or time:
    whoever writes either of the names again leaves the other one as it is. A copy where the disk has no such names.
    """
    temporary = _beside(path)
    try:
        try:
            temporary.hardlink_to(source)
        except OSError:
            with disk_named(path), whole_file(path) as copied:
                shutil.copyfile(source, copied)
            return
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink()
    sync_folder(path.parent)


def move(path: Path, destination: Path) -> None:
    """Renames a file or folder, and waits until that is on the disk. A file that is at `destination` is replaced."""
    path.replace(destination)
    for folder in {path.parent, destination.parent}:
        sync_folder(folder)


def sync_file(file: IO[bytes] | IO[str]) -> None:
    """Waits until what was written to the open file is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Waits until the names of the folder's files are on the disk."""
    with disk_named(folder):
        _sync_path(folder)


def remove_unfinished(folder: Path, *names: str) -> None:
    """Deletes what killed writers of files or folders with these names (`*` stands for anything) left in the folder.

    Only for who is the one writer of those: another one's unfinished file would go too.
    """
    if not folder.is_dir():
        return
    for entry in list(folder.iterdir()):
        found = _UNFINISHED.fullmatch(entry.name)
        if found and any(fnmatchcase(found[found.lastindex or 0], name) for name in names):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def _sync_path(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Descriptions of pictures on disk: each picture is read and described once for each recipe."""

from __future__ import annotations

import hashlib
import logging
import os
import zipfile
from pathlib import Path

import cv2
import numpy as np

from diptych.photos.picture_data import UnreadablePicture
from diptych.storage.whole import whole_file
from diptych.verification.features import read_picture
from diptych.verification.policy import Description, Policy

log = logging.getLogger(__name__)

_FORMAT = 2  # raise it when the same recipe and picture begin to give another description
_SOURCE = "source"


class KeypointCache:
    """Keeps what `policy.describe` gives under `folder`, an uncompressed .npz for each picture and recipe.

    - An entry belongs to a path, a recipe and OpenCV's version; it holds the file's size and modification time, and is
      replaced when they differ. (A file changed with both unchanged is not noticed.)
    - Many processes may use one folder: entries are written beside their place and moved there in one step.
    - A damaged entry is logged and made again. When writing fails (disk full, read-only folder) the process logs that
      once and continues without writing.
    - Values come back bit for bit. Unreadable pictures leave no entry.

    An entry has about 0.15 MB with the default recipe of `verified` (1,000 keypoints of 144 bytes), and up to 0.75 MB
    with that of `published`, whatever the picture's size; there are as many as pictures have been asked for. If each
    of 400,000 archive photos became a candidate, `verified` would need 60 GB. Nothing is ever deleted; the folder may
    be, at any time.

    With `folder=None` nothing is kept, and every call describes. Construction does no I/O; objects can be pickled.
    """

    def __init__(self, folder: str | Path | None, policy: Policy) -> None:
        self.policy = policy
        recipe = f"{_FORMAT} {cv2.__version__} {policy.recipe()}"
        digest = hashlib.sha256(recipe.encode()).hexdigest()[:12]
        self.folder = None if folder is None else Path(folder) / digest
        self._writable = True

    def describe(self, path: str | Path) -> Description | None:
        """The description of a picture, from disk where it is; None for one that cannot be read, which is logged."""
        try:
            if self.folder is None:
                return self.policy.describe(read_picture(path))
            return self._load_or_describe(Path(path), self.folder)
        except UnreadablePicture as error:
            log.warning("%s", error)
            return None

    def _load_or_describe(self, path: Path, folder: Path) -> Description:
        try:
            status = path.stat()
        except (OSError, ValueError):  # a NUL in the name is a ValueError
            return self.policy.describe(read_picture(path))  # which says what is wrong with the file
        source = np.array([status.st_size, status.st_mtime_ns], np.int64)
        name = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()
        # 256 folders: a few hundred entries each, where one folder would hold a hundred thousand.
        entry = folder / name[:2] / f"{name[2:40]}.npz"
        description = _load(entry, source)
        if description is None:
            description = self.policy.describe(read_picture(path))
            if self._writable:
                # `source` was read before the picture: should the file change meanwhile, the entry is stale, not wrong.
                self._store(entry, {**description, _SOURCE: source})
        return description

    def _store(self, entry: Path, arrays: Description) -> None:
        try:
            # Checksums tell what a crash of the machine has damaged.
            with whole_file(entry, durable=False) as temporary, temporary.open("wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]  # to its stub a key may be `allow_pickle`
        except OSError as error:
            self._writable = False
            log.warning("features are no longer written to %s: %s", self.folder, error.strerror or error)


def _load(entry: Path, source: np.ndarray) -> Description | None:
    """The arrays of a current, intact entry, else None. The checksums are the zip format's own."""
    try:
        with np.load(entry, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        current = np.array_equal(arrays.pop(_SOURCE), source)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        log.warning("features in %s cannot be read (%s); describing the picture again", entry, error)
        return None
    return arrays if current else None

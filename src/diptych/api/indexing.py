"""The embeddings of images while an index grows: those kept from an earlier index, and those that are embedded now.

Shape letters: G images of the index, B of a batch, E embedding width.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from torch import Tensor

from diptych.api.gallery import Gallery, read_gallery
from diptych.contracts.retrieval import GalleryImage

log = logging.getLogger(__name__)

_SECONDS = 60.0  # between two writings of an index that grows
_SHARE = 20  # a writing takes at most one part in so many of the time


class GrowingIndex:
    """The embeddings of `images`, a row each once there are any.

    With `keep`, a file, those that it has are taken over where the image's file has the size and the time of change
    that it had then, and the file is brought up to date: every minute, and by `write`. What other weights, or another
    `precision`, have written there is replaced, with a line in the log.

    Raises:
        ValueError: `keep` is no index, or a damaged one; or it cannot be written, which is tried before anything is
            embedded.
    """

    def __init__(
        self, images: Sequence[GalleryImage], weights: str, checkpoint: str, precision: str, keep: Path | None
    ) -> None:
        self.images, self._keep = images, keep
        self._weights, self._checkpoint, self._precision = weights, checkpoint, precision
        self._stamps = np.array([_stamp(image.path) for image in images], np.int64).reshape(-1, 2)
        self._vectors: dict[str, np.ndarray] = {}
        self._done = np.zeros(len(images), bool)
        self._changed = True  # the file does not hold what is here
        self._next_write = time.monotonic() + _SECONDS
        if keep is None:
            return
        if keep.exists():
            self._take_over(keep)
        if self.missing:
            _require_writable(keep)

    @property
    def missing(self) -> list[int]:
        """The positions of images that have no embedding yet."""
        return np.flatnonzero(~self._done).tolist()

    def put(self, positions: Sequence[int], embedded: Mapping[str, Tensor]) -> None:
        """Takes the embeddings (B, E), by space, of the images at these positions; writes the file if it is time."""
        self._put(np.asarray(positions), {name: rows.float().cpu().numpy() for name, rows in embedded.items()})
        self._changed = True
        if self._keep is not None and time.monotonic() >= self._next_write:
            since = time.monotonic()
            self.write(len(self.missing))
            self._next_write = time.monotonic() + max(_SECONDS, _SHARE * (time.monotonic() - since))

    def gallery(self, missing: int = 0) -> Gallery:
        """All images that have an embedding, in their order; `missing` others are still to come."""
        images = [image for image, done in zip(self.images, self._done, strict=True) if done]
        vectors = {name: rows[self._done] for name, rows in self._vectors.items()}
        if np.array_equal(vectors["model"], vectors["baseline"]):
            vectors["baseline"] = vectors["model"]
        stamps = self._stamps[self._done]
        return Gallery(images, vectors, self._weights, self._checkpoint, stamps, self._precision, missing)

    def write(self, missing: int = 0) -> None:
        """Brings the file up to date, if there is one, and anything to keep that it does not hold."""
        if self._keep is not None and self._changed and self._done.any():
            self.gallery(missing).write(self._keep)

    def _put(self, positions: np.ndarray, rows_of: Mapping[str, np.ndarray]) -> None:
        for name, rows in {"baseline": rows_of["model"], **rows_of}.items():  # many models have one space for both
            if name not in self._vectors:
                self._vectors[name] = np.empty((len(self.images), rows.shape[1]), np.float32)
            self._vectors[name][positions] = rows
        self._done[positions] = True

    def _take_over(self, keep: Path) -> None:
        try:
            known = read_gallery(keep)
        except ValueError as error:
            raise ValueError(f"{error}; delete it, or name another file (index=, in Python keep=)") from None
        if (known.weights, known.precision) != (self._weights, self._precision):
            log.warning("%s is of %s (%s): all is embedded anew", keep, known.checkpoint, known.precision)
            return
        assert known.stamps is not None  # whoever writes the precision writes them
        rows = {str(image.path): row for row, image in enumerate(known.images)}
        pairs = [(place, rows.get(str(image.path), -1)) for place, image in enumerate(self.images)]
        unchanged = [
            (place, row) for place, row in pairs if row >= 0 and (known.stamps[row] == self._stamps[place]).all()
        ]
        if unchanged:
            places, of_rows = np.array(unchanged).T
            self._put(places, {name: vectors[of_rows] for name, vectors in known.vectors.items()})
        said = log.info if unchanged else log.warning
        said("%s: %d of %d images are as they were", keep, len(unchanged), len(self.images))
        kept = [self.images[place].image_id for place, _ in unchanged]
        self._changed = bool(known.missing) or kept != [image.image_id for image in known.images]


def _require_writable(keep: Path) -> None:
    """ValueError where the file could not be written in the end."""
    try:
        keep.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=keep.parent):
            pass
    except OSError as error:
        raise ValueError(
            f"the index {keep} cannot be written ({error.strerror}): name another place (index=, in Python keep=)"
        ) from None


def _stamp(path: Path) -> tuple[int, int]:
    """Size in bytes and time of the last change in ns; -1 twice where there is no such file."""
    try:
        found = path.stat()
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns

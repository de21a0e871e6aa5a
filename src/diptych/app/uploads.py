"""Files that somebody drops on a page: what may be there, and what is wrong with one, in a sentence."""

from __future__ import annotations

from pathlib import Path

from diptych.data.pairs.image_folder import SUFFIXES
from diptych.photos.images import decode_image
from diptych.photos.picture_data import read_bytes

PICTURES = SUFFIXES
ARTICLES = (".txt", ".json")
MOST_BYTES = 20 * 2**20  # of one file
MOST_CHARACTERS = 200_000  # of an article that is typed


def dropped_picture(path: str) -> tuple[Path, str]:
    """The file and the name of a picture that was dropped. All of it is decoded, so that damage is said at once.

    Raises:
        ValueError: it is no picture, or a damaged one; names it as whoever dropped it does.
    """
    file = Path(path)
    decode_image(read_bytes(file), file.name)
    return file, file.name

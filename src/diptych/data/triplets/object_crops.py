"""Objects cut out of pictures as GeneCIS does: a margin around the box, and black to make it a square."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from rich.progress import track

from diptych.data.annotations import resolve_inside
from diptych.photos.photo_file import read_photo
from diptych.storage.file_lock import lock_file, locked
from diptych.storage.whole import remove_unfinished, whole_file

MARGIN = 0.7  # of the box's sides, as published


@dataclass(frozen=True, slots=True)
class Crop:
    """An object in the picture of that name: its `box` is left, top, width and height in pixels."""

    picture: str
    box: tuple[float, float, float, float]


def cut_out(wanted: Mapping[Path, Crop], pictures: Path, folder: Path, docs_page: str) -> None:
    """Writes the crops that are not there yet, all into `folder`, as PNG; each picture is read once.

    Of several processes one does it, and the others wait.

    Raises:
        ValueError: pictures are missing (before anything is written) or damaged, or a box lies outside of its picture.
    """
    if all(path.is_file() for path in wanted):
        return
    with locked(lock_file(folder), advice="the crops are written there: name a folder of your own, data.root=PATH"):
        remove_unfinished(folder, "*.png")
        of_picture: dict[Path, list[tuple[Path, Crop]]] = defaultdict(list)
        for path, crop in wanted.items():
            if not path.is_file():
                of_picture[resolve_inside(pictures, crop.picture)].append((path, crop))
        _refuse_missing(list(of_picture), pictures, docs_page)
        for picture, crops in track(of_picture.items(), description="cutting objects out", transient=True):
            photo = read_photo(picture)
            for path, crop in crops:
                with whole_file(path, durable=False) as temporary:
                    square(photo, crop, picture).save(temporary, "PNG")


def square(photo: Image.Image, crop: Crop, picture: Path) -> Image.Image:
    """The object with its margin in the middle of a black square.

    As in `datasets/vaw_dataset.py` of facebookresearch/genecis the margin is on the left and above: the crop begins
    `MARGIN` of the width before the box, and is 1 + `MARGIN` times as wide, so that it ends where the box does. A box
    near the left edge gets on its right what is cut off there; height likewise.

    Raises:
        ValueError: nothing of the crop lies in the picture.
    """
    left, top, width, height = crop.box
    x, y = max(0.0, left - MARGIN * width), max(0.0, top - MARGIN * height)
    right = min(float(photo.width), x + (1 + MARGIN) * width)
    bottom = min(float(photo.height), y + (1 + MARGIN) * height)
    corners = (round(x), round(y), round(right), round(bottom))  # as Pillow rounds what it is given
    if corners[2] <= corners[0] or corners[3] <= corners[1]:
        raise ValueError(
            f"{picture} has {photo.width} x {photo.height} pixels, and the box {crop.box} (left, top, width, height)"
            " lies outside: is it the picture of that number of Visual Genome 1.2?"
        )
    cut = photo.crop(corners)
    side = max(cut.size)
    whole = Image.new("RGB", (side, side))
    whole.paste(cut, ((side - cut.width) // 2, (side - cut.height) // 2))
    return whole


def _refuse_missing(pictures: list[Path], folder: Path, docs_page: str) -> None:
    missing = [picture.name for picture in pictures if not picture.is_file()]
    if missing:
        raise ValueError(
            f"{len(missing):,} of {len(pictures):,} pictures that objects are cut out of are not in {folder}, the"
            f" first: {missing[0]}; {docs_page} says how to get them"
        )

"""Which picture of a rooms set a request shows, whatever the client did to its size and its JPEG quality."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

import numpy as np
from PIL import Image, UnidentifiedImageError

from diptych.storage.json_files import as_written
from diptych.synthetic.rooms.scene import Room, scene_from_json
from diptych.synthetic.scene_source import scene_description
from diptych.synthetic.scenes import Item
from diptych.synthetic.triplet_sets import IMAGE_SIZE

_SIZE = (IMAGE_SIZE, IMAGE_SIZE)
_SIDE = 16  # of the thumbnails; an eighth of the set's pictures, which JPEG decodes without its details
_TOLERANCE = 8.0  # grey levels, root mean square, between thumbnails of one picture
_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the set, its size as the client sent it, in pixels, and the detail in which it is to be seen."""

    number: int
    width: int
    height: int
    detail: str = "auto"


class RoomsFolder:
    """The pictures of a rooms set (the folder with `images` and `scenes`) and what is on them.

    Raises:
        ValueError: the folder holds no pictures.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._paths = sorted((self.root / "images").rglob("*.jpg"))
        if not self._paths:
            raise ValueError(f"{self.root}: no images/**/*.jpg: name the folder of a rooms set")
        self._numbers = {path.relative_to(self.root).as_posix(): number for number, path in enumerate(self._paths)}
        thumbnails = [_thumbnail(path.read_bytes())[0] for path in self._paths]
        self._thumbnails = np.stack(thumbnails).reshape(len(thumbnails), -1)
        self._squares = (self._thumbnails**2).sum(axis=1)
        self._seen: dict[bytes, Picture] = {}
        self._scenes: dict[int, Room] = {}

    def __len__(self) -> int:
        return len(self._paths)

    def path(self, name: str) -> Path | None:
        """The file of `images/...`, or None: nothing outside the set can be named."""
        number = self._numbers.get(name)
        return None if number is None else self._paths[number]

    def recognise(self, url: str) -> Picture:
        """The picture behind a data URL, a file URL, or any URL whose path ends like that of a picture of the set.

        Raises:
            ValueError: it is no picture, or none of this set.
        """
        data = _DATA_URL.match(url)
        if data is None:
            return self._named(url)
        digest = hashlib.blake2b(url.encode(), digest_size=16).digest()
        if digest not in self._seen:
            try:
                self._seen[digest] = self._nearest(base64.b64decode(url[data.end() :], validate=True))
            except (binascii.Error, UnidentifiedImageError, OSError) as error:
                raise ValueError(f"the data URL holds no picture: {error}") from error
        return self._seen[digest]

    def items(self, number: int) -> dict[str, Item]:
        """The objects on a picture, by kind, in the order of `KINDS`; absent ones are left out."""
        scene = self._scenes.get(number)
        if scene is None:
            name = self._paths[number].relative_to(self.root / "images").with_suffix(".json")
            path = self.root / "scenes" / name
            with as_written(path, "generate the rooms again"):
                scene = scene_from_json(scene_description(path))
            self._scenes[number] = scene
        return scene.items()

    def _named(self, url: str) -> Picture:
        parts = unquote(urlparse(url).path).split("/")
        for start, part in enumerate(parts):
            number = self._numbers.get("/".join(parts[start:])) if part == "images" else None
            if number is not None:
                with Image.open(self._paths[number]) as image:
                    return Picture(number, *image.size)
        raise ValueError(f"{url[:200]}: this server knows pictures of the set {self.root.name} only")

    def _nearest(self, data: bytes) -> Picture:
        thumbnail, (width, height) = _thumbnail(data)
        pixels = thumbnail.reshape(-1)
        distances = self._squares - 2 * (self._thumbnails @ pixels)
        number = int(distances.argmin())
        difference = float(np.sqrt(np.mean((self._thumbnails[number] - pixels) ** 2)))
        if difference > _TOLERANCE:
            raise ValueError(
                f"no picture of the set {self.root.name}: the nearest is {difference:.1f} grey levels away"
            )
        return Picture(number, width, height)


def _thumbnail(data: bytes) -> tuple[np.ndarray, tuple[int, int]]:
    """RGB (16, 16, 3) as float32, and the width and height of the whole."""
    with Image.open(io.BytesIO(data)) as image:
        size = image.size
        if size == _SIZE:
            image.draft("RGB", (_SIDE, _SIDE))
        whole = image.convert("RGB")
        if size != _SIZE:  # first, because a mean over parts of pixels would depend on where their edges lie
            whole = whole.resize(_SIZE, Image.Resampling.BILINEAR)
        small = whole.resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float32), size

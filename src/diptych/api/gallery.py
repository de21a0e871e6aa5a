"""The images that a retriever searches, with their embeddings, and the file that keeps them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from diptych.contracts.retrieval import GalleryImage
from diptych.data.annotations import first_repeated
from diptych.data.pairs.image_folder import ImageFolder
from diptych.storage.arrays import crc_of_arrays
from diptych.storage.json_values import json_value
from diptych.storage.whole import write_file

Images = str | Path | Iterable[str | Path] | Mapping[str, str | Path]
_FORMAT = "diptych gallery 1"
_CRC = "crc32"  # of all else in the file


def gallery_images(images: Images) -> list[GalleryImage]:
    """What is to be indexed, with absolute paths: the images below a folder (ids are their paths relative to it), files
    (ids are their paths as given, without `./` and `//`), or files by id; those of a folder by their ids, others in the
    order given.

    Raises:
        ValueError: the folder is missing or empty, there is nothing, an id occurs twice or is no text.
    """
    if isinstance(images, (str, Path)):
        found = list(ImageFolder(images).gallery())
    elif isinstance(images, Mapping):
        found = [GalleryImage(image_id, Path(path)) for image_id, path in images.items()]
    else:
        found = [GalleryImage(str(Path(path)), Path(path)) for path in images]  # one spelling: `./a.jpg` is `a.jpg`
    if not found:
        raise ValueError("there are no images to index: name a folder, files, or files by id")
    ids = [image.image_id for image in found]
    if (repeated := first_repeated(ids)) is not None:
        raise ValueError(f"image {repeated!r} is named twice; an index holds every image once")
    if others := [image_id for image_id in ids if not isinstance(image_id, str)]:
        raise ValueError(f"ids of images must be texts; {others[0]!r} is none")
    return [GalleryImage(image.image_id, image.path.absolute()) for image in found]


@dataclass(frozen=True)
class Gallery:
    """Images with their L2-normalised float32 embeddings (G, E), a row each: `model` in the space of composed queries,
    `baseline` in the space of pictures and texts alone; many models have one space for both, and then one array.

    `weights` is the fingerprint of what they were made with, `checkpoint` its name. `stamps` (G, 2), int64, are size
    and time of change of the images' files when they were read, and `precision` what they were embedded in; None where
    it is not known. `missing` counts images that were to be indexed and are not yet.
    """

    images: Sequence[GalleryImage]
    vectors: Mapping[str, np.ndarray]
    weights: str
    checkpoint: str
    stamps: np.ndarray | None = None
    precision: str | None = None
    missing: int = 0

    def write(self, path: Path) -> None:
        """Writes the file in one step; one that is there already is replaced.

        Raises:
            OSError: the disk does not take it; what was there before is untouched.
        """
        listed = json.dumps([[image.image_id, str(image.path)] for image in self.images]).encode()
        arrays = {"images": np.frombuffer(listed, np.uint8), "model": self.vectors["model"]}
        if self.vectors["baseline"] is not self.vectors["model"]:
            arrays["baseline"] = self.vectors["baseline"]
        if self.stamps is not None:
            arrays["stamps"] = self.stamps
        about = {"format": _FORMAT, "weights": self.weights, "checkpoint": self.checkpoint}
        about |= {"precision": self.precision} if self.precision is not None else {}
        about |= {"missing": str(self.missing)} if self.missing else {}
        write_file(path, save(arrays, {**about, _CRC: str(_checksum(about, arrays))}))


def gallery_of(path: Path, weights: str, checkpoint: str) -> Gallery:
    """The gallery that `Gallery.write` left, if it was made with the weights of this fingerprint.

    Raises:
        ValueError: as `read_gallery`; or it was made with other weights: names both checkpoints.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such index file")
    about = check_gallery(path)
    if about["weights"] != weights:
        raise ValueError(
            f"{path} was made by {about['checkpoint']} (weights {about['weights'][:12]}), this retriever is"
            f" {checkpoint} (weights {weights[:12]}): index the images again, or load that checkpoint"
        )
    return read_gallery(path)


def read_gallery(path: Path) -> Gallery:
    """The gallery that `Gallery.write` left; it holds numbers and texts alone, so a stranger's runs no code.

    Raises:
        ValueError: the file is missing, damaged or another program's; names it.
    """
    with _opened(path) as file:
        about = _about(file)
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        if about.get(_CRC) not in (None, str(_checksum(about, arrays))):  # earlier versions wrote none
            raise ValueError("its checksum differs")
        images = [GalleryImage(image_id, Path(name)) for image_id, name in json_value(arrays.pop("images").tobytes())]
        stamps = arrays.pop("stamps", None)
        vectors = {"model": arrays["model"], "baseline": arrays.get("baseline", arrays["model"])}
        if any(array.dtype != np.float32 or array.shape[:-1] != (len(images),) for array in vectors.values()):
            raise KeyError("a row for each image")
        if stamps is not None and (stamps.dtype != np.int64 or stamps.shape != (len(images), 2)):
            raise KeyError("a stamp for each image")
        missing = int(about.get("missing", "0"))
    return Gallery(images, vectors, about["weights"], about["checkpoint"], stamps, about.get("precision"), missing)


def check_gallery(path: Path, everything: bool = False) -> Mapping[str, str]:
    """What the file says of itself, `weights` and `checkpoint`; with `everything` all of it is read and compared with
    its checksum.

    Raises:
        ValueError: it is damaged, or another program's.
    """
    if everything:
        read_gallery(path)
    with _opened(path) as file:
        return _about(file)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file, as safetensors has it; whatever goes wrong with it in the block is a damaged index."""
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is a damaged index ({error}): index the images again") from None


def _about(file: Any) -> dict[str, str]:
    about = file.metadata() or {}
    if about.get("format") != _FORMAT:
        raise ValueError(f"it is none of this version, {_FORMAT}")
    if missing := {"weights", "checkpoint"} - about.keys():
        raise KeyError(*missing)
    return about


def _checksum(about: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> int:
    about = {name: said for name, said in about.items() if name != _CRC}
    return crc_of_arrays(json.dumps([about, sorted(arrays)], sort_keys=True), (arrays[name] for name in sorted(arrays)))

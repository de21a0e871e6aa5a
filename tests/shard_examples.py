"""A small source of training triplets for the tests of shards: tiny pictures, groups, wordings, distractors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from diptych.contracts.retrieval import EvaluationProtocol, GalleryImage, Query, Triplet, TripletSource

NUM_TRIPLETS, NUM_IMAGES = 37, 20


class Pictures(TripletSource):
    """37 triplets over 20 pictures, four to a group; every third has distractors, every second two wordings."""

    docs_page = "docs/own_data.md"
    splits = ("train",)

    def __init__(self, root: Path, name: str = "pictures") -> None:
        self.root, self.name = root, name

    def triplets(self, split: str) -> list[Triplet]:
        return [
            Triplet(
                f"q{number}",
                f"{number % NUM_IMAGES}",
                ("darker", f"as a {number} by Größe") if number % 2 else (f"number {number}",),
                f"{(7 * number + 3) % NUM_IMAGES}",
                (f"{(number + 5) % NUM_IMAGES}", f"{(number + 6) % NUM_IMAGES}") if number % 3 == 0 else (),
                group=f"group {number // 4}",
            )
            for number in range(NUM_TRIPLETS)
        ]

    def image_path(self, split: str, image_id: str) -> Path:
        return self.root / f"images.v1/{int(image_id) % 3}" / f"{image_id}.{'JPG' if int(image_id) % 2 else 'png'}"

    def queries(self, split: str) -> list[Query]:
        raise NotImplementedError

    def gallery(self, split: str) -> list[GalleryImage]:
        raise NotImplementedError

    def protocol(self, split: str) -> EvaluationProtocol:
        raise NotImplementedError


def make_pictures(root: Path, name: str = "pictures") -> Pictures:
    """The source with its files written."""
    source, rng = Pictures(root, name), np.random.default_rng(0)
    for number in range(NUM_IMAGES):
        path = source.image_path("train", str(number))
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)).resize((30, 24)).save(path)
    return source


def records_of(*sources: Pictures) -> list[tuple[Pictures, Triplet]]:
    """What `write_shards` takes."""
    return [(source, triplet) for source in sources for triplet in source.triplets("train")]


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}

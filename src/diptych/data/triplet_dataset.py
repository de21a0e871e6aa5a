"""Training examples: triplets read, decoded and collated."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from diptych.contracts import Preprocessing, Triplet, TripletBatch, TripletSource
from diptych.data.captions import choose_text
from diptych.data.images import ImageReader
from diptych.data.sampling import example_generator

Augmentation = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class TripletExample:
    """One drawn triplet: pixels uint8 (3, H, W), the chosen wording, and the keys of its images."""

    query_id: str
    reference: Tensor
    target: Tensor
    text: str
    reference_key: int
    target_key: int
    distractors: tuple[Tensor, ...] = ()
    distractor_keys: tuple[int, ...] = ()


class TripletDataset(Dataset[TripletExample]):
    """The triplets of one or several sources in a row; indexed by (position, draw) as `MixingSampler` gives them.

    Every random choice (wording, augmentation) is a function of `seed` and the draw, so workers and restarts change
    nothing. An image that cannot be read raises ValueError naming file, source and query.
    """

    def __init__(
        self,
        sources: Sequence[tuple[TripletSource, Sequence[Triplet]]],
        split: str,
        reader: ImageReader,
        augmentation: Augmentation | None = None,
        with_distractors: bool = False,
        seed: int = 0,
    ) -> None:
        self.records = [(source, triplet) for source, triplets in sources for triplet in triplets]
        self.split, self.reader, self.augmentation = split, reader, augmentation
        self.with_distractors, self.seed = with_distractors, seed

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: tuple[int, int]) -> TripletExample:
        position, draw = key
        source, triplet = self.records[position]
        generator = example_generator(self.seed, draw)
        text = choose_text(triplet, generator)
        distractors = triplet.distractors if self.with_distractors else ()
        names = (triplet.reference_image, triplet.target_image, *distractors)
        paths = [source.image_path(self.split, name) for name in names]
        try:
            reference, target, *others = (self._pixels(path, generator) for path in paths)
        except ValueError as error:
            raise ValueError(f"{error} (query {triplet.query_id} of {source.name}, split {self.split})") from error
        reference_key, target_key, *other_keys = (image_key(path) for path in paths)
        return TripletExample(
            triplet.query_id, reference, target, text, reference_key, target_key, tuple(others), tuple(other_keys)
        )

    def _pixels(self, path: Path, generator: torch.Generator) -> Tensor:
        pixels = self.reader(path)
        return pixels if self.augmentation is None else self.augmentation(pixels, generator)


class TripletCollator:
    """Examples to a `TripletBatch`; texts are tokenised together, so they are padded to the batch's longest."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing

    def __call__(self, examples: Sequence[TripletExample]) -> TripletBatch:
        distractors = [pixels for example in examples for pixels in example.distractors]
        keys = [key for example in examples for key in example.distractor_keys]
        return TripletBatch(
            query_ids=tuple(example.query_id for example in examples),
            reference=torch.stack([example.reference for example in examples]),
            target=torch.stack([example.target for example in examples]),
            text=self.preprocessing.tokenize([example.text for example in examples]),
            reference_keys=torch.tensor([example.reference_key for example in examples]),
            target_keys=torch.tensor([example.target_key for example in examples]),
            distractors=torch.stack(distractors) if distractors else None,
            distractor_keys=torch.tensor(keys) if keys else None,
        )


def image_key(path: Path) -> int:
    """A 63-bit number for an image file: equal for the same path, in whichever source it is named."""
    digest = hashlib.blake2b(str(path).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1

"""Training examples: triplets read, decoded and collated."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from diptych.contracts import (
    ImageFeatures,
    Preprocessing,
    TextFeatures,
    TextTokens,
    Triplet,
    TripletBatch,
    TripletSource,
)
from diptych.data.captions import choose_text
from diptych.data.feature_cache import FeatureCache
from diptych.data.images import ImageReader
from diptych.data.sampling import random_generator

Augmentation = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class TripletExample:
    """One drawn triplet: pixels uint8 (3, H, W), the chosen wording, and the keys of its images; or, of a frozen
    backbone, the features of images and wording.
    """

    query_id: str
    reference: Tensor | ImageFeatures
    target: Tensor | ImageFeatures
    text: str | TextFeatures
    reference_key: int
    target_key: int
    distractors: tuple[Tensor | ImageFeatures, ...] = ()
    distractor_keys: tuple[int, ...] = ()


class TripletDataset(Dataset[TripletExample]):
    """The triplets of one or several sources in a row; indexed by (position, draw) as `MixingSampler` gives them.

    The wording is a function of `seed` and the draw, the augmentation of `seed`, the image and the global batch of
    `draws_per_batch` draws, so workers and restarts change nothing, and an image looks the same wherever it occurs in
    a batch. An image that cannot be read raises ValueError naming file, source and query. With `features` set, examples
    hold cached features and no image is read.
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
        self.draws_per_batch = 1
        self.features: FeatureCache | None = None

    def image_paths(self) -> list[Path]:
        """The files of all images, each once."""
        sources = {
            (id(source), name): source
            for source, triplet in self.records
            for name in (triplet.reference_image, triplet.target_image, *self._distractors(triplet))
        }
        paths = (source.image_path(self.split, name) for (_, name), source in sources.items())
        return list(dict.fromkeys(paths))

    def texts(self) -> list[str]:
        """All wordings, each once."""
        return list(dict.fromkeys(text for _, triplet in self.records for text in triplet.modification_texts))

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: tuple[int, int]) -> TripletExample:
        position, draw = key
        source, triplet = self.records[position]
        text = choose_text(triplet, random_generator(self.seed, draw))
        names = (triplet.reference_image, triplet.target_image, *self._distractors(triplet))
        paths = [source.image_path(self.split, name) for name in names]
        try:
            reference, target, *others = (self._image(path, draw // self.draws_per_batch) for path in paths)
        except ValueError as error:
            raise ValueError(f"{error} (query {triplet.query_id} of {source.name}, split {self.split})") from error
        reference_key, target_key, *other_keys = (image_key(path) for path in paths)
        words = text if self.features is None else self.features.text(text)
        return TripletExample(
            triplet.query_id, reference, target, words, reference_key, target_key, tuple(others), tuple(other_keys)
        )

    def _distractors(self, triplet: Triplet) -> tuple[str, ...]:
        return triplet.distractors if self.with_distractors else ()

    def _image(self, path: Path, batch: int) -> Tensor | ImageFeatures:
        if self.features is not None:
            return self.features.image(path)
        pixels = self.reader(path)
        if self.augmentation is None:
            return pixels
        # Not the whole path: the same data in another folder is trained on in the same way.
        return self.augmentation(pixels, random_generator(self.seed, batch, _number_of("/".join(path.parts[-2:]))))


class TripletCollator:
    """Examples to a `TripletBatch`; texts are padded to the batch's longest. Features become float32."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing

    def __call__(self, examples: Sequence[TripletExample]) -> TripletBatch:
        """The batch of these examples."""
        distractors = [image for example in examples for image in example.distractors]
        keys = [key for example in examples for key in example.distractor_keys]
        return TripletBatch(
            query_ids=tuple(example.query_id for example in examples),
            reference=_stack_images([example.reference for example in examples]),
            target=_stack_images([example.target for example in examples]),
            text=self._stack_texts([example.text for example in examples]),
            reference_keys=torch.tensor([example.reference_key for example in examples]),
            target_keys=torch.tensor([example.target_key for example in examples]),
            distractors=_stack_images(distractors) if distractors else None,
            distractor_keys=torch.tensor(keys) if keys else None,
        )

    def _stack_texts(self, texts: Sequence[str | TextFeatures]) -> TextTokens | TextFeatures:
        if isinstance(texts[0], str):
            return self.preprocessing.tokenize(texts)
        tokens, masks = ([getattr(text, name) for text in texts] for name in ("tokens", "mask"))
        embedding = torch.stack([text.embedding for text in texts])
        return TextFeatures(pad_sequence(tokens, True).float(), pad_sequence(masks, True), embedding.float())


def _stack_images(images: Sequence[Tensor | ImageFeatures]) -> Tensor | ImageFeatures:
    if isinstance(images[0], Tensor):
        return torch.stack(images)
    names = [item.name for item in fields(ImageFeatures)]
    return ImageFeatures(*(torch.stack([getattr(image, name) for image in images]).float() for name in names))


@cache
def image_key(path: Path) -> int:
    """A 63-bit number for an image file: equal for the same path, in whichever source it is named."""
    return _number_of(str(path))


def _number_of(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") >> 1

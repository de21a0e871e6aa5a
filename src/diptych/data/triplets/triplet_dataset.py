"""Training examples: triplets read, decoded and collated."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import TypeAlias, TypeVar

import torch
from torch import Generator, Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from diptych.contracts.models import ImageFeatures, Preprocessing, TextFeatures, TextTokens
from diptych.contracts.retrieval import PictureRows, Triplet, TripletBatch, TripletSource
from diptych.data.triplets.augmentation import Augmentation
from diptych.data.triplets.captions import choose_text
from diptych.data.triplets.concepts import ConceptReader
from diptych.data.triplets.feature_cache import BackboneFeatures
from diptych.data.triplets.presence import absent_files, complain_about
from diptych.data.triplets.resident_pictures import ResidentPictures
from diptych.data.triplets.sampling import random_generator
from diptych.photos.images import ImageReader

log = logging.getLogger(__name__)

Kind = TypeVar("Kind")
Picture: TypeAlias = Tensor | ImageFeatures | PictureRows


@dataclass(frozen=True)
class TripletExample:
    """One drawn triplet: pixels uint8 (3, H, W), the chosen wording, and the keys of its images; or, of a frozen
    backbone, the features of images and wording. `wording` is the text where `text` is its features. Of pictures that
    the device holds, their rows there.
    """

    query_id: str
    reference: Picture
    target: Picture
    text: str | TextFeatures
    reference_key: int
    target_key: int
    distractors: tuple[Picture, ...] = ()
    distractor_keys: tuple[int, ...] = ()
    wording: str = ""


class TripletDataset(Dataset[TripletExample]):
    """Triplets of one or several sources, each with its source; indexed by (position, draw) as `MixingSampler` gives
    them.

    The wording is a function of `seed` and the draw, the augmentation of `seed`, the image and the global batch of
    `draws_per_batch` draws, so workers and restarts change nothing, and an image looks the same wherever it occurs in
    a batch. An image that cannot be read raises ValueError naming file, source and query. With `features`, or with
    `pictures` on the device, examples hold these or their rows, and no image is read.
    """

    def __init__(
        self,
        records: Sequence[tuple[TripletSource, Triplet]],
        split: str,
        reader: ImageReader,
        augmentation: Augmentation | None = None,
        with_distractors: bool = False,
        seed: int = 0,
        draws_per_batch: int = 1,
        features: BackboneFeatures | None = None,
        pictures: ResidentPictures | None = None,
    ) -> None:
        self.records = records
        self.split, self.reader, self.augmentation = split, reader, augmentation
        self.with_distractors, self.seed = with_distractors, seed
        self.draws_per_batch, self.features = draws_per_batch, features
        # Without their pixels: a process that was forked must not touch a GPU, and one that was not would get a copy.
        self.rows = None if pictures is None else pictures.rows
        self.num_random = 0 if pictures is None else pictures.num_random

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
        return wordings(self.records)

    def image_bytes(self) -> int:
        """What one image takes in a batch: its pixels, or its features in float32, or its row and random numbers."""
        if self.rows is not None:
            return 8 + 4 * self.num_random
        if self.features is None:
            return 3 * self.reader.spec.size**2
        source, triplet = self.records[0]
        features = self.features.image(source.image_path(self.split, triplet.reference_image))
        return sum(4 * getattr(features, item.name).numel() for item in fields(features))

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
            triplet.query_id,
            reference,
            target,
            words,
            reference_key,
            target_key,
            tuple(others),
            tuple(other_keys),
            text,
        )

    def _distractors(self, triplet: Triplet) -> tuple[str, ...]:
        return triplet.distractors if self.with_distractors else ()

    def _image(self, path: Path, batch: int) -> Picture:
        if self.features is not None:
            return self.features.image(path)
        name = short_name(path)
        if self.rows is not None:
            random = torch.rand(self.num_random, generator=_of_image(self.seed, batch, name))
            return PictureRows(torch.tensor(self.rows[path]), random)
        return augmented(self.reader(path), self.augmentation, self.seed, batch, name)


class TripletCollator:
    """Examples to a `TripletBatch`; texts are padded to the batch's longest. Features become float32. With `concepts`
    the texts' noun phrases go with them.
    """

    def __init__(self, preprocessing: Preprocessing, concepts: ConceptReader | None = None) -> None:
        self.preprocessing, self.concepts = preprocessing, concepts

    def __call__(self, examples: Sequence[TripletExample]) -> TripletBatch:
        """The batch of these examples."""
        distractors = [image for example in examples for image in example.distractors]
        keys = [key for example in examples for key in example.distractor_keys]
        text = self._stack_texts([example.text for example in examples])
        texts = [example.text if isinstance(example.text, str) else example.wording for example in examples]
        return TripletBatch(
            query_ids=tuple(example.query_id for example in examples),
            reference=stack_images([example.reference for example in examples]),
            target=stack_images([example.target for example in examples]),
            text=text,
            reference_keys=torch.tensor([example.reference_key for example in examples]),
            target_keys=torch.tensor([example.target_key for example in examples]),
            distractors=stack_images(distractors) if distractors else None,
            distractor_keys=torch.tensor(keys) if keys else None,
            concepts=self.concepts(texts, text.mask.shape[1]) if self.concepts else None,
            texts=tuple(texts),
        )

    def _stack_texts(self, texts: Sequence[str | TextFeatures]) -> TextTokens | TextFeatures:
        if isinstance(texts[0], str):
            return self.preprocessing.tokenize(_all_of(str, texts))
        features = _all_of(TextFeatures, texts)
        tokens, masks = ([getattr(text, name) for text in features] for name in ("tokens", "mask"))
        embedding = torch.stack([text.embedding for text in features])
        return TextFeatures(pad_sequence(tokens, True).float(), pad_sequence(masks, True), embedding.float())


def stack_images(images: Sequence[Picture]) -> Picture:
    """Pictures of one kind as a batch; features become float32."""
    if isinstance(images[0], Tensor):
        return torch.stack(_all_of(Tensor, images))
    if isinstance(images[0], PictureRows):
        kept = _all_of(PictureRows, images)
        return PictureRows(torch.stack([one.rows for one in kept]), torch.stack([one.random for one in kept]))
    names = [item.name for item in fields(ImageFeatures)]
    return ImageFeatures(*(torch.stack([getattr(image, name) for image in images]).float() for name in names))


def _all_of(kind: type[Kind], values: Sequence[object]) -> list[Kind]:
    """The values, which are of one kind: a dataset reads pictures and texts, or features of both."""
    found = [value for value in values if isinstance(value, kind)]
    if len(found) < len(values):
        raise TypeError(f"a batch holds {len(values)} values, only {len(found)} of them {kind.__name__}")
    return found


def wordings(records: Sequence[tuple[TripletSource, Triplet]]) -> list[str]:
    """All wordings of triplets, each once."""
    return list(dict.fromkeys(text for _, triplet in records for text in triplet.modification_texts))


def complete_triplets(source: TripletSource, on_missing: str) -> list[Triplet]:
    """The source's training triplets whose images are there; ValueError if `on_missing` is `error` and one is not."""
    triplets = source.triplets("train")
    names = {
        name: source.image_path("train", name)
        for triplet in triplets
        for name in (triplet.reference_image, triplet.target_image, *triplet.distractors)
    }
    absent = absent_files(names)
    if not absent:
        return list(triplets)
    complain_about(absent, len(names), source, "train", on_missing)
    kept = [
        replace(triplet, distractors=tuple(name for name in triplet.distractors if name not in absent))
        for triplet in triplets
        if not {triplet.reference_image, triplet.target_image} & absent.keys()
    ]
    if not kept:
        raise ValueError(f"{source.root}: no training triplet of {source.name} has all its images")
    log.warning("%s: %d of %d training triplets kept", source.name, len(kept), len(triplets))
    return kept


def short_name(path: Path) -> str:
    """The last two parts of an image's path, by which its augmentation is drawn.

    Not the whole path: the same data in another folder is trained on in the same way.
    """
    return "/".join(path.parts[-2:])


def augmented(pixels: Tensor, augmentation: Augmentation | None, seed: int, batch: int, name: str) -> Tensor:
    """The picture of this `short_name` as the global batch shows it, wherever it occurs there."""
    if augmentation is None:
        return pixels
    return augmentation(pixels, _of_image(seed, batch, name))


def _of_image(seed: int, batch: int, name: str) -> Generator:
    return random_generator(seed, batch, key_of_name(name))


@cache
def image_key(path: Path) -> int:
    """A 63-bit number for an image file: equal for the same path, in whichever source it is named."""
    return key_of_name(str(path))


def key_of_name(name: str) -> int:
    """A 63-bit number, equal for equal names."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") >> 1

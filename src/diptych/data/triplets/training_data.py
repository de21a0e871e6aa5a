"""What training reads, in one of three ways: what the parts under `data.training` are given, and what they give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.utils.data import Dataset, Sampler

from diptych.contracts.models import Preprocessing, TrainableSystem
from diptych.contracts.retrieval import TargetBank, TripletSource
from diptych.data.triplets.resident_pictures import ResidentPictures
from diptych.photos.images import ImageReader


@dataclass(frozen=True)
class TrainingInputs:
    """What every way of reading is given: the sources that are trained on, by name and in their order, and how images
    and texts are read. `evaluation_batch_size` is how many images are embedded at a time without a gradient.
    `images_on` says where pictures are kept (`resident_pictures.PLACES`).
    """

    sources: Mapping[str, TripletSource]
    preprocessing: Preprocessing
    reader: ImageReader
    on_missing: str
    num_workers: int
    evaluation_batch_size: int
    images_on: str = "auto"


@dataclass(frozen=True)
class TrainingBatches:
    """What a loader is made of: a dataset of `TripletExample`, or of whole batches where `batch_size` is None, and the
    order in which they come. `epoch_batches` is the number of batches in one pass over the data, `batch_bytes` what the
    pictures of one take, or their features, at least. Where `pictures` are on the device, examples name their rows.
    `bank` goes with every batch, where the loss wants one.
    """

    dataset: Dataset
    sampler: Sampler
    batch_size: int | None
    epoch_batches: float
    batch_bytes: int
    pictures: ResidentPictures | None = None
    bank: TargetBank | None = None


class TrainingData(Protocol):
    """Training data that was looked at and is there. `origin` is what a position in its order depends on, beside the
    settings: it stands in checkpoints.
    """

    @property
    def origin(self) -> Mapping[str, Any]:
        """Empty where any number of processes may go on."""

    def prepare_from_weights(self, system: TrainableSystem, device: torch.device) -> None:
        """Makes what needs the system's loaded weights."""

    def texts(self) -> Sequence[str]:
        """All wordings, each once; empty where they are not known before they are read."""

    def batches(self, num_batches: int, start_batch: int) -> TrainingBatches:
        """This process's batches of a run of so many, from the one with this number on."""


class TrainingPart(Protocol):
    """The settings of one way of reading, as `data.training` names it. `kind` is what the way is called, `batch_size`
    counts the triplets of a batch of one process.
    """

    kind: str
    batch_size: int

    def open(self, inputs: TrainingInputs) -> Callable[[TrainableSystem], TrainingData]:
        """Looks at what is there, before there is a model: ValueError for what is missing or does not fit. The result
        gives the data for training a system, and raises ValueError for a system that it cannot serve.
        """

"""Training from the features of a frozen backbone: no image is read, and no tower runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

import torch

from diptych.contracts.models import TrainableSystem
from diptych.contracts.retrieval import TargetBank
from diptych.data.triplets.feature_cache import BackboneFeatures
from diptych.data.triplets.feature_preparation import check_cacheable, prepare_features
from diptych.data.triplets.listed_triplets import DrawingSettings, ListedTriplets
from diptych.data.triplets.resident_pictures import check_no_pictures_on_gpu
from diptych.data.triplets.target_bank import target_bank
from diptych.data.triplets.training_data import TrainingBatches, TrainingInputs
from diptych.data.triplets.triplet_dataset import TripletDataset


class FromFeatures:
    """Reads features that lie in the folder `feature_cache`, stored as `feature_dtype`; those that are missing are
    computed once the weights are loaded. Pictures are taken as they are, without augmentation. Evaluation reads images.

    `caption_policy` chooses among a record's wordings (`random`, `join`, `explode`, `first`); the other settings are
    those of `DrawingSettings`.

    Raises:
        ValueError: an unknown `feature_dtype`.
    """

    kind = "features"
    writes: ClassVar[Mapping[str, str]] = {"feature_cache": "*/manifest.json"}

    def __init__(
        self,
        feature_cache: str,
        feature_dtype: str = "float16",
        batch_size: int = 256,
        caption_policy: str = "random",
        group_size: int = 1,
        weights: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> None:
        if feature_dtype not in ("float16", "float32"):
            raise ValueError(f"data.training.feature_dtype={feature_dtype!r} is not one of float16, float32")
        self.feature_cache, self.feature_dtype, self.caption_policy = feature_cache, feature_dtype, caption_policy
        self.batch_size = batch_size
        self.drawing = DrawingSettings(batch_size, group_size, weights, seed)

    def open(self, inputs: TrainingInputs) -> Callable[[TrainableSystem], FeatureTraining]:
        """The triplets, whose images are all there; a system is refused unless its backbone is frozen."""
        check_no_pictures_on_gpu(inputs.images_on, "features are trained on, and pictures are not read")
        triplets = ListedTriplets(inputs, self.caption_policy, self.drawing)
        triplets.check_batch()

        def of_system(system: TrainableSystem) -> FeatureTraining:
            check_cacheable(system.model.backbone)
            return FeatureTraining(self, triplets, inputs, "distractors" in system.wants, "bank" in system.wants)

        return of_system


class FeatureTraining:
    """Triplets whose features are read, once `prepare_from_weights` has seen to it that they are there."""

    origin: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self,
        settings: FromFeatures,
        triplets: ListedTriplets,
        inputs: TrainingInputs,
        with_distractors: bool,
        with_bank: bool,
    ) -> None:
        self.settings, self.triplets, self.inputs = settings, triplets, inputs
        self.with_distractors, self.with_bank = with_distractors, with_bank
        self._features: BackboneFeatures | None = None
        self._bank: TargetBank | None = None

    def prepare_from_weights(self, system: TrainableSystem, device: torch.device) -> None:
        """Computes the features that are missing, on `device`, and the bank from all of them, if it is wanted; raises
        ValueError as `prepare_features` and `target_bank`.
        """
        settings = self.settings
        self._features = prepare_features(
            system.model.backbone, self.dataset(), self.inputs, settings.feature_cache, settings.feature_dtype, device
        )
        if self.with_bank:
            size = self.inputs.evaluation_batch_size
            self._bank = target_bank(self.dataset(), self._features, system.model, size, device)

    def texts(self) -> Sequence[str]:
        """All wordings."""
        return self.triplets.texts()

    def batches(self, num_batches: int, start_batch: int) -> TrainingBatches:
        """This process's batches.

        Raises:
            RuntimeError: before `prepare_from_weights`.
        """
        if self._features is None:
            raise RuntimeError("features are read before they were prepared; call prepare_from_weights")
        return replace(self.triplets.batches(self.dataset(), num_batches, start_batch), bank=self._bank)

    def dataset(self) -> TripletDataset:
        """The triplets with their features, or before there are some, with their images."""
        return TripletDataset(
            self.triplets.records,
            "train",
            self.inputs.reader,
            None,
            self.with_distractors,
            self.triplets.drawing.seed,
            self.triplets.draws_per_batch,
            self._features,
        )

"""Training triplets of all sources in one list, drawn in a reproducible order: what files and features share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diptych.contracts.retrieval import Triplet, TripletSource
from diptych.data.triplets.captions import expand
from diptych.data.triplets.sampling import MixingSampler, shares_of_pass
from diptych.data.triplets.training_data import TrainingBatches, TrainingInputs
from diptych.data.triplets.triplet_dataset import TripletDataset, complete_triplets, wordings
from diptych.parallel.distributed import rank, world_size


@dataclass(frozen=True)
class DrawingSettings:
    """How triplets are drawn: `batch_size` for each process; `weights` by source (None: by size); `group_size` triplets
    of look-alikes (a hotel, a CIRR set) side by side in a batch, as hard negatives. With `one_batch` every batch is the
    first one.

    Raises:
        ValueError: `group_size` is under 1.
    """

    batch_size: int
    group_size: int
    weights: Mapping[str, float] | None
    seed: int
    one_batch: bool = False

    def __post_init__(self) -> None:
        if self.group_size < 1:
            raise ValueError(f"data.training.group_size={self.group_size} must be 1 (no grouping) or more")


class ListedTriplets:
    """The training triplets of all sources, after the caption policy (`captions.expand`).

    Raises:
        ValueError: images are missing, the weights are not those of the sources, or a batch is larger than they are.
    """

    def __init__(self, inputs: TrainingInputs, caption_policy: str, drawing: DrawingSettings) -> None:
        weights = drawing.weights
        if weights is not None and set(weights) != set(inputs.sources):
            raise ValueError(
                f"data.training.weights names {sorted(weights)}, but training is on {sorted(inputs.sources)}"
            )
        self.drawing = drawing
        self.weights = None if weights is None else [weights[name] for name in inputs.sources]
        self.records: list[tuple[TripletSource, Triplet]] = []
        self.sizes: list[int] = []
        for source in inputs.sources.values():
            triplets = expand(complete_triplets(source, inputs.on_missing), caption_policy)
            self.records += [(source, triplet) for triplet in triplets]
            self.sizes.append(len(triplets))

    def check_batch(self) -> None:
        """ValueError where a batch of all processes is larger than a pass: before there is a model."""
        if all(self.sizes):  # else the order says which is empty
            shares_of_pass(self.sizes, self.weights, self.drawing.batch_size, world_size())

    @property
    def draws_per_batch(self) -> int:
        """Triplets in a batch of all processes together."""
        return self.drawing.batch_size * world_size()

    def texts(self) -> list[str]:
        """All wordings, each once."""
        return wordings(self.records)

    def batches(self, dataset: TripletDataset, num_batches: int, start_batch: int) -> TrainingBatches:
        """This process's batches of a dataset of these records."""
        groups: Sequence = [(source.name, triplet.group or triplet.query_id) for source, triplet in self.records]
        sampler = MixingSampler(
            self.sizes,
            self.weights,
            self.drawing.batch_size,
            num_batches,
            seed=self.drawing.seed,
            rank=rank(),
            world_size=world_size(),
            start_batch=start_batch,
            groups=groups,
            group_size=self.drawing.group_size,
            one_batch=self.drawing.one_batch,
        )
        size = self.drawing.batch_size
        return TrainingBatches(dataset, sampler, size, sampler.epoch_batches, size * 2 * dataset.image_bytes())

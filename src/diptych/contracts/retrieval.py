"""Composed image retrieval: triplets, queries, galleries, what a ranking found, what a metric says."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from diptych.contracts.models import (
    ON_HOST,
    ImageFeatures,
    Movable,
    TextFeatures,
    TextTokens,
    TrainableSystem,
)

if TYPE_CHECKING:  # records are read by programs that need no tensors, and torch takes seconds to import
    import torch
    from torch import Tensor, nn

BASELINES = ("sum", "image_only", "text_only")  # what an evaluation's model is compared with: see `embed_queries`


@dataclass(frozen=True, slots=True)
class Triplet:
    """One training record: `reference_image` changed as `modification_texts` say gives `target_image`.

    Images are named by ids that the source of the record resolves (`TripletSource.image_path`). `modification_texts`
    holds every wording of the record, in file order; the caption policy of the datamodule chooses among them. Triplets
    of one `group` (a hotel, CIRR's image set) show look-alikes; empty where a source knows none. `relevant_ids` holds
    all accepted answers, the target among them, where a source lists them.
    """

    query_id: str
    reference_image: str
    modification_texts: tuple[str, ...]
    target_image: str
    distractors: tuple[str, ...] = ()
    group: str = ""
    relevant_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Query:
    """One evaluation record. `text` is the modification text as the protocol renders it (template, joined captions).

    `target_image` is None and `relevant_ids` empty on splits whose answers are hidden. `relevant_ids` holds all
    accepted answers, the target among them; `group_member_ids` CIRR's six look-alikes, the reference among them, or all
    images that the query ranks, where its protocol says `candidates="group"`; `distractors` images that the record
    names as near but wrong, which need not be in the gallery.
    `aspects` are the groups that per-aspect metrics report: CIRCO's semantic aspects; or the number and the kinds of
    the changes, `changes_2` and `changed_colour`. A query may be in several.
    """

    query_id: str
    reference_image: str
    text: str
    target_image: str | None = None
    relevant_ids: tuple[str, ...] = ()
    group_member_ids: tuple[str, ...] = ()
    aspects: tuple[str, ...] = ()
    distractors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GalleryImage:
    """One image that can be found, under the id that queries and submission files use."""

    image_id: str
    path: Path


@dataclass(frozen=True, slots=True)
class EvaluationProtocol:
    """What a number means: two results are comparable when their protocols (and galleries) are equal.

    `gallery`, `text_template` and `caption_joining` describe in words what the source has done; the rest drives the
    evaluation. `average_of` names the metrics whose mean is `average`; `aspect_metrics` those reported per aspect.
    `candidates` is what a query ranks: the gallery, or the members of its own group alone; the gallery is then no more
    than the images of all groups. `partial` is None, or `n/N` when images were missing and
    `data.images.on_missing=drop` let the run go on. `left_out` names metrics whose K is too large for the data
    (`ranking.fitted_protocol`).
    """

    name: str
    version: int
    gallery: str
    exclude_reference: bool
    text_template: str
    caption_joining: str
    recall_ks: tuple[int, ...]
    subset_ks: tuple[int, ...] = ()
    map_ks: tuple[int, ...] = ()
    primary_metric: str = "recall_at_1"
    average_of: tuple[str, ...] = ()
    aspect_metrics: tuple[str, ...] = ()
    answers_hidden: bool = False
    partial: str | None = None
    left_out: tuple[str, ...] = ()
    candidates: Literal["gallery", "group"] = "gallery"

    def describe(self) -> str:
        """One line for tables and logs, for example `cirr_val v1 @partial(2296/2297)`."""
        suffix = f" @partial({self.partial})" if self.partial else ""
        return f"{self.name} v{self.version}{suffix}"


@runtime_checkable
class TripletSource(Protocol):
    """A dataset on disk. Construction reads nothing; every method may raise ValueError naming file, line or key.

    `docs_page` is the page under docs/ that says how to get the data; `splits` the names that the methods accept.
    A source that inherits from this class has, until it says otherwise, nothing to prepare, no published counts, no
    test server and no knowledge of what its images show.

    - `kind` is what the source is for; news photos are of another.
    - `published_counts` are the pairs and images of its published splits, with which the doctor compares.
    - `submission_format` names the class of its test server's file, a `submission.formats.RankingFormat`, by module and
      name: submissions stand above data.
    - `query_ids` says how the ids of its queries are made, where no published file has them; an answer under other ids
      is told so.
    - `untrue_kinds` are the kinds of untrue texts that it can tell (`untrue_text`), where it knows what images show.
    """

    kind: ClassVar[str] = "retrieval"
    published_counts: Mapping[str, tuple[int, int]] = MappingProxyType({})
    submission_format: str | None = None
    query_ids: str = ""
    untrue_kinds: tuple[str, ...] = ()

    name: str
    root: Path
    docs_page: str
    splits: tuple[str, ...]

    def prepare(self) -> None:
        """Makes what can be made: a generated set. Called before anything is read, and again."""
        return

    def triplets(self, split: str) -> Sequence[Triplet]:
        """Training records of the split, in file order."""

    def queries(self, split: str) -> Sequence[Query]:
        """Evaluation records of the split, in file order, with unique query ids. Reads annotations only."""

    def gallery(self, split: str) -> Sequence[GalleryImage]:
        """The images that the split's queries search, in a fixed order (ties go to the earlier one)."""

    def protocol(self, split: str) -> EvaluationProtocol:
        """How the split is scored."""

    def image_path(self, split: str, image_id: str) -> Path:
        """The file of an image named by a triplet or query of the split; always inside `root`."""

    def untrue_text(self, split: str, triplet: Triplet, kind: str, rng: random.Random) -> str | None:
        """A text of one of `untrue_kinds` that is known to be untrue of the triplet's images; None where the kind does
        not apply to them.
        """
        return None

    def is_true_of(self, split: str, triplet: Triplet, other: Triplet) -> bool:
        """Whether the texts of the other triplet are true of this one's images too, as far as the source knows."""
        pairs = [(one.reference_image, one.target_image) for one in (triplet, other)]
        return pairs[0] == pairs[1]


OtherRank = Literal["reference_rank", "distractor_ranks"]  # what a ranking finds where it is asked for


@dataclass(frozen=True, slots=True)
class RankedQuery:
    """What ranking found for one query; all ranks are 1-based positions in the protocol's filtered ranking.

    `ranked_ids` and `scores` are the first results (50, or the whole gallery if that is smaller). `target_rank` is the
    exact rank of the target, `relevant_ranks` the exact ranks of all relevant ids, ascending, without those that are
    not in the ranking; `num_relevant` counts all of them. `subset_rank` is the target's rank among the other group
    members. Scoring a prediction file, a target outside the given list has the rank None.

    `reference_image`, `target_image` and `text` are the query's. Where it was asked for (`OtherRank`), `reference_rank`
    is the rank of its reference, None where that is no candidate, and `distractor_ranks` are those of its distractors
    that are candidates; infinite outside a given list.
    """

    query_id: str
    ranked_ids: tuple[str, ...]
    scores: tuple[float, ...]
    target_rank: int | None
    relevant_ranks: tuple[int, ...]
    num_relevant: int
    subset_rank: int | None = None
    subset_ids: tuple[str, ...] = ()
    aspects: tuple[str, ...] = ()
    reference_image: str = ""
    target_image: str | None = None
    text: str = ""
    reference_rank: float | None = None
    distractor_ranks: tuple[float, ...] = ()


@dataclass(frozen=True)
class EvaluationSet:
    """What one protocol scores: queries against a gallery. `reference_paths` are the queries' files by image id."""

    name: str
    queries: Sequence[Query]
    gallery: Sequence[GalleryImage]
    protocol: EvaluationProtocol
    reference_paths: Mapping[str, Path]


class PhraseFinder(Protocol):
    """Finds the noun phrases of texts; construction loads nothing, and objects can be pickled."""

    def load(self) -> None:
        """Loads what finds them; ValueError says what is missing."""

    def phrases(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        """The phrases of each text, which stand in it letter by letter."""


@dataclass(frozen=True)
class ConceptTokens(Movable):
    """The N noun phrases of a batch's texts (B, L), in the order of their texts.

    `input_ids` and `mask` (N, M) are the phrases tokenised alone, `rows` (N,) int64 the texts that they stand in.
    `in_text` (N, L) and `alone` (N, M), bool, are True on the phrase's tokens in its text and among its own, where
    those of start and end are not.
    """

    input_ids: Tensor
    mask: Tensor
    rows: Tensor
    in_text: Tensor
    alone: Tensor


@dataclass(frozen=True)
class PictureRows(Movable):
    """Pictures that the device holds already: `rows` (N,) int64 are their places there, `random` (N, R) the numbers in
    [0, 1) that their augmentation takes. Of a single picture without the N.
    """

    rows: Tensor = field(metadata=ON_HOST)
    random: Tensor = field(metadata=ON_HOST)


@dataclass(frozen=True)
class TargetBank:
    """A gallery whose embeddings (G, E), L2-normalised, do not change. `rows` says where an image stands, by its key.
    `answers` are the rows of the images, other than the target, that are known to answer a query, by the query's id and
    its reference's key; of queries without any there is nothing.
    """

    embeddings: Tensor
    rows: Mapping[int, int]
    answers: Mapping[tuple[str, int], tuple[int, ...]]

    def rows_of(self, keys: Tensor) -> Tensor:
        """Where the images with these keys (B,) stand, on the host; -1 for one that is not there."""
        return keys.new_tensor([self.rows.get(key, -1) for key in keys.tolist()])

    def answers_of(self, batch: TripletBatch) -> Tensor:
        """The rows of each query's known answers (B, K), filled up with -1; on the host."""
        names = zip(batch.query_ids, batch.reference_keys.tolist(), strict=True)
        known = [self.answers.get(name, ()) for name in names]
        width = max(map(len, known))
        return batch.reference_keys.new_tensor([[*rows, *[-1] * (width - len(rows))] for rows in known])


@dataclass(frozen=True)
class TripletBatch(Movable):
    """A training batch. `reference`, `target` and `distractors` are uint8 pixels (N, 3, H, W), or cached features; on
    the way to a device that holds the pictures, their rows there, which the transfer replaces by pixels.

    `*_keys` identify images, and stay on the host: equal keys mean the same file and, within a batch, the same pixels.
    An image that occurs twice is encoded once, and the loss masks equal targets, so that an image is never its own
    negative. `distractors` may be None or hold any number of images for the whole batch. `concepts` and `bank` are None
    unless a loss wants them. `texts` are the wordings of `text`. `weights` (B,) are what the loss of each triplet is
    multiplied by; None: nothing.
    """

    query_ids: tuple[str, ...]
    reference: Tensor | ImageFeatures | PictureRows
    target: Tensor | ImageFeatures | PictureRows
    text: TextTokens | TextFeatures
    reference_keys: Tensor = field(metadata=ON_HOST)
    target_keys: Tensor = field(metadata=ON_HOST)
    distractors: Tensor | ImageFeatures | PictureRows | None = None
    distractor_keys: Tensor | None = field(default=None, metadata=ON_HOST)
    concepts: ConceptTokens | None = None
    bank: TargetBank | None = None
    texts: tuple[str, ...] = ()
    weights: Tensor | None = field(default=None, metadata=ON_HOST)

    @property
    def num_tokens(self) -> None:
        """None: pictures are what takes time here, and texts are padded."""


@dataclass(frozen=True)
class QueryBatch(Movable):
    """An evaluation batch of queries; `positions` (B,) are their positions in the split's list of queries, `set_index`
    the number of the evaluation set that they belong to.
    """

    positions: Tensor
    reference: Tensor
    text: TextTokens
    set_index: int = 0


@dataclass(frozen=True)
class GalleryBatch(Movable):
    """An evaluation batch of gallery images; `positions` (B,) are their positions in the gallery, `set_index` the
    number of the evaluation set that they belong to.
    """

    positions: Tensor
    pixels: Tensor
    set_index: int = 0


@dataclass(frozen=True)
class ConceptAttention(Movable):
    """How much the patches of N reference images attend to a noun phrase, a mean over its tokens (N, P): `in_text`, and
    `alone` where the phrase is the whole text, which has no graph.
    """

    in_text: Tensor
    alone: Tensor


@dataclass(frozen=True)
class ContrastiveEmbeddings(Movable):
    """What the losses compare, all embeddings L2-normalised: `query` and `target` (B, E), and the extra negatives;
    `concepts` if the batch has them.
    """

    query: Tensor
    target: Tensor
    reference: Tensor | None = None
    distractors: Tensor | None = None
    concepts: ConceptAttention | None = None


Unit = Literal["fraction", "count", "score"]


Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class MetricMeaning:
    """How a metric's number is to be read.

    `unit` is `fraction` (stored from 0 to 1, shown in percent), `count` (of ranks, words, claims: shown as it is, with
    one decimal) or `score` (on a scale of its own: four decimals). `better` is `higher`, `lower`, or None for a number
    that describes, such as the words of a caption. `reduction` says what of the values per query it is, if one of
    `mean` and `median`.

    Raises:
        ValueError: one of them is another word.
    """

    unit: Unit = "fraction"
    better: Better | None = "higher"
    reduction: str = "mean"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("unit", self.unit, ("fraction", "count", "score")),
            ("better", self.better, ("higher", "lower", None)),
            ("reduction", self.reduction, ("mean", "median")),
        ):
            if value not in known:
                raise ValueError(f"{name} of a metric must be one of {', '.join(map(str, known))}, not {value!r}")

    @property
    def mode(self) -> str:
        """`max` or `min`, as callbacks and searches say it: where the best value lies. `max` of what only describes."""
        return "min" if self.better == "lower" else "max"


@dataclass
class MetricValues:
    """One metric over the queries: `values` (Q,) per query, NaN where it does not apply, how they are summed up, and
    how the result is to be read.

    `reduction` is `mean` or `median`, over the values that are not NaN. `unit` and `better` are as in `MetricMeaning`:
    a rank is MetricValues(ranks, unit="count", better="lower"). `absent` says why there is no number where all values
    are NaN, for metrics that data may have nothing for.
    """

    values: Tensor
    reduction: str = field(default="mean")
    unit: Unit = "fraction"
    better: Better | None = "higher"
    absent: str = ""

    @property
    def meaning(self) -> MetricMeaning:
        """How the metric is to be read. Raises ValueError for a unit, direction or reduction that is none."""
        return MetricMeaning(self.unit, self.better, self.reduction)


class RetrievalLoss(Protocol):
    """A loss over composed embeddings: an nn.Module.

    `wants` names what is embedded for it beside queries and targets: `reference` (the reference images in the space of
    the targets), `distractors` (the records' look-alikes, which are not even loaded otherwise), `concepts` (attention
    to the texts' noun phrases, which are not even looked for otherwise), `bank` (all images of the training data, of a
    frozen backbone).
    """

    @property
    def wants(self) -> frozenset[str]:
        """Some of `reference`, `distractors`, `concepts` and `bank`."""

    def __call__(self, embeddings: ContrastiveEmbeddings, batch: TripletBatch) -> dict[str, Tensor]:
        """Named terms; `loss` is what is minimised, all are logged. Of a batch with weights also `per_triplet` (B, 2),
        which is not: each one's loss before it is weighed, and the probability that its query prefers the target to the
        reference (0.5: neither).
        """

    def parameters(self) -> Iterator[nn.Parameter]:
        """Its own parameters, a learned temperature: nn.Module's."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The same with their names: nn.Module's."""


class SplitToTest(Protocol):
    """What `trainer.test` is given: a LightningDataModule with the loaders of one split."""

    split: str
    sets: Sequence[EvaluationSet]


class RetrievalData(Protocol):
    """What the retrieval system and the commands ask of its data, a LightningDataModule whose loaders give
    `TripletBatch`, and for evaluation `QueryBatch` and `GalleryBatch`.

    """

    kind: str
    sources: Mapping[str, TripletSource]
    validation_split: str

    @property
    def epoch_batches(self) -> float:
        """Batches of one process in one pass over the training data, after `prepare_for`."""

    @property
    def training_batch_size(self) -> int:
        """Triplets in a batch of one process; ValueError of data that is only evaluated on."""

    def prepare_training(self) -> None:
        """Makes what can be made, and raises ValueError for what training and validation would miss. Before there is a
        system: missing data must not cost a model.
        """

    def untruths(self) -> list[dict[str, Any]]:
        """What was made untrue on purpose, with what was true, an object each; empty where nothing was."""

    def prepare_for(self, system: TrainableSystem) -> None:
        """Takes in what this system, which has no weights yet, wants of a batch; ValueError if that cannot be had."""

    def prepare_from_weights(self, system: TrainableSystem, device: torch.device) -> None:
        """Makes what needs the system's weights, which are loaded now: features of a frozen backbone."""

    def prepare_evaluation(self, split: str) -> None:
        """Makes what can be made, and raises ValueError for what evaluating the split would miss."""

    def evaluation_sets(self, split: str) -> Sequence[EvaluationSet]:
        """Queries, gallery and protocol of everything that is evaluated."""

    def to_test(self, split: str) -> SplitToTest:
        """The loaders of a split, in the order of its evaluation sets."""

"""The words of the house: what the parts hand to each other. Read first; it imports nothing of ours.

Shape letters: B batch, P image patches, L text tokens, D feature width, E embedding width, Q queries, G gallery,
K cut-off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor

# ---------------------------------------------------------------------------------------------------- records


@dataclass(frozen=True, slots=True)
class Triplet:
    """One training record: `reference_image` changed as `modification_texts` say gives `target_image`.

    Images are named by ids that the source of the record resolves (`TripletSource.image_path`). `modification_texts`
    holds every wording of the record, in file order; the caption policy of the datamodule chooses among them. Triplets
    of one `group` (a hotel, CIRR's image set) show look-alikes; empty where a source knows none.
    """

    query_id: str
    reference_image: str
    modification_texts: tuple[str, ...]
    target_image: str
    distractors: tuple[str, ...] = ()
    group: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """One evaluation record. `text` is the modification text as the protocol renders it (template, joined captions).

    `target_image` is None and `relevant_ids` empty on splits whose answers are hidden. `relevant_ids` holds all
    accepted answers, the target among them; `group_member_ids` CIRR's six look-alikes, the reference among them.
    `aspects` are the groups that per-aspect metrics report: CIRCO's semantic aspects, or `changes_2` and the like.
    """

    query_id: str
    reference_image: str
    text: str
    target_image: str | None = None
    relevant_ids: tuple[str, ...] = ()
    group_member_ids: tuple[str, ...] = ()
    aspects: tuple[str, ...] = ()


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
    `partial` is None, or `n/N` when images were missing and `data.on_missing=drop` let the run go on.
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

    def describe(self) -> str:
        """One line for tables and logs, for example `cirr_val v1 @partial(2296/2297)`."""
        suffix = f" @partial({self.partial})" if self.partial else ""
        return f"{self.name} v{self.version}{suffix}"


@runtime_checkable
class TripletSource(Protocol):
    """A dataset on disk. Construction reads nothing; every method may raise ValueError naming file, line or key.

    `docs_page` is the page under docs/ that says how to get the data; `splits` the names that the methods accept.
    """

    name: str
    root: Path
    docs_page: str
    splits: tuple[str, ...]

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


@dataclass(frozen=True, slots=True)
class RankedQuery:
    """What ranking found for one query; all ranks are 1-based positions in the protocol's filtered ranking.

    `ranked_ids` and `scores` are the first results (50, or the whole gallery if that is smaller). `target_rank` is the
    exact rank of the target, `relevant_ranks` the exact ranks of all relevant ids, ascending, without those that are
    not in the ranking; `num_relevant` counts all of them. `subset_rank` is the target's rank among the other group
    members. Scoring a prediction file, a target outside the given list has the rank None.
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


@dataclass(frozen=True)
class EvaluationSet:
    """What one protocol scores: queries against a gallery. `reference_paths` are the queries' files by image id."""

    name: str
    queries: Sequence[Query]
    gallery: Sequence[GalleryImage]
    protocol: EvaluationProtocol
    reference_paths: Mapping[str, Path]


# ---------------------------------------------------------------------------------------------------- news records


@dataclass(frozen=True, slots=True)
class Article:
    """One news article as published: its text may hold line breaks and other control characters.

    `url`, `title`, `text` and `date` (ISO 8601, UTC) are empty where the publication has none. `image_ids` are the
    photos printed with it, in its order.
    """

    article_id: str
    url: str
    title: str
    text: str
    date: str
    image_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NewsQuery:
    """A news photo that is to be captioned. The photo's own id is the query id.

    `reference_captions` holds every ground truth in file order, and is empty on splits whose answers are hidden.
    `article_id` and `image_id` are the annotated article and the database photo printed with it; None where the
    annotation names none, and on hidden splits.
    """

    query_id: str
    reference_captions: tuple[str, ...] = ()
    article_id: str | None = None
    image_id: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A database photo proposed for a query, with the article it was printed with (None: not known)."""

    image_id: str
    article_id: str | None
    score: float


@dataclass(frozen=True, slots=True)
class Chunk:
    """A contiguous span of an article's text that was chosen as evidence: `article.text[start:end]`.

    `score` is the best similarity to a query of evidence selection; None for text that is taken whatever it says: the
    first and last sentences, or the whole of a short article.
    """

    start: int
    end: int
    score: float | None = None


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """The names, dates and numbers of an article, each list without repetition and in a fixed order."""

    people: tuple[str, ...] = ()
    organisations: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the fuser is told about one photo beside the picture's own description.

    `article_id` is None when there was no article to take; then `text` and `title` are empty. `text` is what stands in
    the prompt: the chosen chunks in the article's order, joined by blanks.
    """

    article_id: str | None = None
    title: str = ""
    date: str = ""
    text: str = ""
    chunks: tuple[Chunk, ...] = ()
    facts: KeyFacts = KeyFacts()


@dataclass(frozen=True, slots=True)
class FusionExample:
    """One photo ready for the fuser. `prompt_ids` end where the completion begins; `completion_ids` carry the loss and
    end with the token that ends a turn. They are empty where the answer is hidden.
    """

    query_id: str
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CaptionItem:
    """One generated caption with all that metrics and reports look at.

    `evidence_text` is all text of the article that the prompt held (title, facts and chunks); `image_path` the query
    photo; both may be missing when captions come from a file.
    """

    query_id: str
    caption: str
    reference_captions: tuple[str, ...] = ()
    evidence_text: str | None = None
    image_path: Path | None = None


class ArticleLookup(Protocol):
    """Articles by id, read when asked for; `source` is the file that they come from."""

    source: Path

    def __contains__(self, article_id: object) -> bool:
        """Whether there is an article of this id."""

    def __getitem__(self, article_id: str) -> Article:
        """The article; ValueError if there is none."""

    def article_ids_of_image(self, image_id: str) -> Sequence[str]:
        """The articles that a photo was printed with, in their order; none for an unknown photo."""


@runtime_checkable
class NewsSource(Protocol):
    """News photos and articles on disk. Construction reads nothing; every method may raise ValueError naming file,
    line or key. `prepare`, where there is one, makes what can be made.
    """

    name: str
    root: Path
    docs_page: str
    splits: tuple[str, ...]

    def articles(self, show_progress: bool = True) -> ArticleLookup:
        """The articles by id."""

    def queries(self, split: str) -> Sequence[NewsQuery]:
        """The photos to caption, in file order."""

    def answers_hidden(self, split: str) -> bool:
        """Whether the split has no reference captions."""

    def image_path(self, split: str, query_id: str) -> Path:
        """The file of a query photo, always inside `root`. It need not exist."""

    def database_image_path(self, image_id: str) -> Path:
        """The file of a photo printed with an article, always inside `root`. It need not exist."""

    def gallery(self) -> Iterable[GalleryImage]:
        """Every photo printed with an article once, in a fixed order."""


# ---------------------------------------------------------------------------------------------------- preprocessing


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """How a backbone wants its pictures: `size` pixels square, resized, cropped, later normalised by mean and std.

    `resize` is `shortest` (short side to `size`, then centre crop) or `squash` (both sides to `size`). `target_pad`
    is None, or the ratio of long to short side above which black bars are added first (1.25 in CLIP4Cir and SEARLE).
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    resize: str = "shortest"
    target_pad: float | None = None


class Preprocessing(Protocol):
    """The backbone's own image settings and tokenizer, cheap to build: no weights."""

    image: ImageSpec

    def tokenize(self, texts: Sequence[str]) -> TextTokens:
        """Token ids padded to the longest text of the batch, with the mask of real tokens."""


# ---------------------------------------------------------------------------------------------------- batches


class _Movable:
    """Moves every tensor (or movable) field; what Lightning and pinned-memory loaders look for."""

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """A copy with every tensor moved as `Tensor.to` moves it."""
        return self._map("to", *args, **kwargs)

    def pin_memory(self) -> Any:
        """A copy in page-locked memory."""
        return self._map("pin_memory")

    def _map(self, method: str, *args: Any, **kwargs: Any) -> Any:
        moved = {}
        for item in fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            if isinstance(value, (Tensor, _Movable)):
                moved[item.name] = getattr(value, method)(*args, **kwargs)
        return replace(self, **moved)  # type: ignore[type-var]


@dataclass(frozen=True)
class TextTokens(_Movable):
    """`input_ids` (B, L) int64 and `mask` (B, L) bool, True on real tokens. `num_truncated` texts lost their end."""

    input_ids: Tensor
    mask: Tensor
    num_truncated: int = 0


@dataclass(frozen=True)
class ImageFeatures(_Movable):
    """`tokens` (B, P, D) patch features, `embedding` (B, E) in the shared space and `pooled` (B, D) before the
    projection into it; neither is normalised.
    """

    tokens: Tensor
    embedding: Tensor
    pooled: Tensor


@dataclass(frozen=True)
class TextFeatures(_Movable):
    """`tokens` (B, L, D) text features with their `mask` (B, L), and `embedding` (B, E), not normalised."""

    tokens: Tensor
    mask: Tensor
    embedding: Tensor


@dataclass(frozen=True)
class TripletBatch(_Movable):
    """A training batch. `reference`, `target` and `distractors` are uint8 pixels (N, 3, H, W), or cached features.

    `*_keys` identify images: equal keys mean the same file and, within a batch, the same pixels. An image that occurs
    twice is encoded once, and the loss masks equal targets, so that an image is never its own negative. `distractors`
    may be None or hold any number of images for the whole batch.
    """

    query_ids: tuple[str, ...]
    reference: Tensor | ImageFeatures
    target: Tensor | ImageFeatures
    text: TextTokens | TextFeatures
    reference_keys: Tensor
    target_keys: Tensor
    distractors: Tensor | ImageFeatures | None = None
    distractor_keys: Tensor | None = None


@dataclass(frozen=True)
class QueryBatch(_Movable):
    """An evaluation batch of queries; `positions` (B,) are their places in the split's list of queries."""

    positions: Tensor
    reference: Tensor
    text: TextTokens


@dataclass(frozen=True)
class GalleryBatch(_Movable):
    """An evaluation batch of gallery images; `positions` (B,) are their places in the gallery."""

    positions: Tensor
    pixels: Tensor


@dataclass(frozen=True)
class FusionBatch(_Movable):
    """A packed training batch: several examples share a row, and none sees another.

    `input_ids`, `position_ids`, `labels` and `segments` are int64 (B, L). Positions restart at 0 with each example;
    `labels` hold the token itself where it is to be predicted from the tokens before it in its example, else -100;
    `segments` number a row's examples from 1, and are 0 on padding. Padded batches have one example a row.
    """

    query_ids: tuple[str, ...]
    input_ids: Tensor
    position_ids: Tensor
    labels: Tensor
    segments: Tensor


@dataclass(frozen=True)
class PromptBatch(_Movable):
    """Prompts padded on the left, longest first: `input_ids` and `attention_mask` int64 (B, L)."""

    query_ids: tuple[str, ...]
    input_ids: Tensor
    attention_mask: Tensor


@dataclass(frozen=True)
class ContrastiveEmbeddings(_Movable):
    """What the contrastive loss compares, all L2-normalised: `query` and `target` (B, E), and the extra negatives."""

    query: Tensor
    target: Tensor
    reference: Tensor | None = None
    distractors: Tensor | None = None


# ---------------------------------------------------------------------------------------------------- parts


class ImageEncoder(Protocol):
    """Pictures to features; owns its preprocessing."""

    preprocessing: Preprocessing

    def encode_image(self, pixels: Tensor) -> ImageFeatures:
        """Features of uint8 pixels (B, 3, H, W); normalises them itself."""


class TextEncoder(Protocol):
    """Texts to features; owns its tokenizer."""

    preprocessing: Preprocessing

    def encode_text(self, tokens: TextTokens) -> TextFeatures:
        """Features of tokens; pads are masked."""


class Composer(Protocol):
    """Reference image + modification text -> query embedding; gallery image -> embedding of the same space (B, E)."""

    def compose(self, image: ImageFeatures, text: TextFeatures) -> Tensor:
        """L2-normalised query embeddings (B, E)."""

    def embed_image(self, image: ImageFeatures) -> Tensor:
        """L2-normalised gallery embeddings (B, E)."""


@runtime_checkable
class SentenceEncoder(Protocol):
    """Short texts to vectors that can be compared by their dot product; `name` stands for what decides them."""

    name: str

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """L2-normalised float32 embeddings (N, E), in the order of the texts."""


@runtime_checkable
class FactExtractor(Protocol):
    """Texts to their names, dates and numbers; `name` stands for what decides them."""

    name: str

    def extract(self, texts: Sequence[str]) -> list[KeyFacts]:
        """The facts of each text, in the order of the texts."""


class TextTokenizer(Protocol):
    """What parts need of a language model's tokenizer."""

    eos_token_id: int
    pad_token_id: int | None

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a text."""

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        """The text of token ids."""


@dataclass
class MetricValues:
    """One metric over the queries: `values` (Q,) per query, NaN where it does not apply, and how they are summed up.

    `reduction` is `mean` or `median`, over the values that are not NaN.
    """

    values: Tensor
    reduction: str = field(default="mean")


# ---------------------------------------------------------------------------------------------------- pipelines


@dataclass(frozen=True, slots=True)
class Failure:
    """A record that could not be made. `reason` is a short fixed word, by which failures are counted (`unreadable`);
    `message` says what happened and what to do.
    """

    record_id: str
    reason: str
    message: str


class RecordSink(Protocol):
    """Where a stage's records go. What `append` was given survives a kill; `key` names a record's id in it."""

    key: str

    def done(self) -> set[str]:
        """The ids of all records there are, those of interrupted runs and other processes too."""

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Adds records; when it returns they are on the disk."""

    def finish(self, ids: Sequence[str]) -> None:
        """Puts the records of these ids in this order into one file and lets go of the rest; ids may be missing."""


class Stage(Protocol):
    """One step of a pipeline: for each of its ids a record, or a Failure. Construction reads nothing, costs nothing.

    `record_key` names the id in its records (`query_id`, `image_id`). `input_files` are files whose content decides the
    results, beside the settings; `output_files` those outside its folder that `write_output` makes. `runtime_settings`
    are the constructor's arguments that do not decide the results: batch sizes, worker counts, and where files lie.
    `RecordStage` has defaults for what a stage does not need.
    """

    record_key: str
    runtime_settings: tuple[str, ...]
    input_files: Sequence[Path]
    output_files: Sequence[Path]

    def open_sink(self, folder: Path, part: int | None) -> RecordSink:
        """Where the records go; `part` numbers the process where several work at once."""

    def ids(self) -> Sequence[str]:
        """What is to be done: unique ids, in the order of the finished file. ValueError for input that cannot be."""

    def process(self, ids: Sequence[str]) -> Iterator[Mapping[str, Any] | Failure]:
        """The results for these of the ids, in any order, each as soon as it is there."""

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """Called when all is done: writes what other programs read, out of the records in `folder`."""


class RecordReader(Protocol):
    """From ids to batches."""

    def read(self, record_id: str) -> Any:
        """What the model needs for one id, or a Failure."""

    def collate(self, items: Sequence[Any]) -> Any:
        """A batch of what `read` gave, without failures; tensors in it are moved to the model's device."""


@runtime_checkable
class ModelStage(Protocol):
    """What a Stage has in place of `process` when a model does the work: the runner predicts with it under Lightning,
    on as many devices as the trainer has.
    """

    batch_size: int
    num_workers: int

    def load_model(self) -> Any:
        """The torch module, weights loaded, on the CPU; the runner moves it. Called once by every process."""

    def reader(self) -> RecordReader:
        """Reads for the model, in worker processes: it is pickled, and must not hold the model."""

    def predict(self, model: Any, ids: Sequence[str], batch: Any) -> Sequence[Mapping[str, Any] | Failure]:
        """A record or failure for every id of the batch."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model wrote. `finish_reason` is the server's word (`stop`, `length`, `content_filter`); `usage` counts
    tokens as the server does, and is empty where it does not; `latency_s` is that of the request that succeeded.
    """

    text: str
    finish_reason: str
    usage: Mapping[str, int]
    latency_s: float


@dataclass(frozen=True, slots=True)
class Question:
    """One question to a model. `key` is a hash of everything that decides its answer: stage, model, prompt, images and
    inputs. `messages` makes the chat messages (OpenAI's form) when their turn has come, so that only the pictures in
    flight are in memory. `num_input_tokens` is an estimate, for the cost.
    """

    key: str
    stage: str
    record_id: str
    messages: Callable[[], Sequence[Mapping[str, Any]]] = field(repr=False)
    max_tokens: int
    num_input_tokens: int
    response_format: Mapping[str, Any] | None = None


class ImageIndex(Protocol):
    """Finds the nearest of many vectors."""

    def search(self, queries: Tensor | np.ndarray, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions int64 and scores float32 (Q, K) of the first K of `vectors` (G, E) for each of `queries` (Q, E) by
        inner product, best first; K is `k`, or G if that is smaller. A row may end in positions -1 where the index
        finds no more.
        """


class PhotoEncoder(Protocol):
    """Photos and texts to embeddings of one space: an nn.Module that owns its transform and tokenizer.

    Construction reads and loads nothing heavy; `load` fills in the weights.
    """

    @property
    def transform(self) -> Callable[[Tensor], Any]:
        """uint8 pixels (3, H, W) of any size to what `embed_images` takes one of: a tensor, or a dict of tensors, of
        equal shapes for all photos. Can be pickled; holds no weights.
        """

    def load(self) -> None:
        """Loads the weights. ValueError says what is missing or does not fit."""

    def embed_images(self, inputs: Any) -> Tensor:
        """L2-normalised float32 embeddings (B, E) of stacked transformed photos, on the module's device."""

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """L2-normalised float32 embeddings (B, E); ValueError by encoders that read no text."""

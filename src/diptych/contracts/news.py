"""Captions of news photos: articles, evidence, what the fuser reads and writes."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from diptych.contracts.models import ON_HOST, Movable, TrainableSystem

if TYPE_CHECKING:  # records are read by programs that need no tensors, and torch takes seconds to import
    import numpy as np
    import torch
    from torch import Tensor
from diptych.contracts.retrieval import GalleryImage


@dataclass(frozen=True, slots=True)
class Article:
    """One news article as published: its text may hold line breaks and tabs.

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
    the prompt: the chosen chunks in the article's order, joined by blanks. `topic` is what the article is about in a
    word or two; empty where the prompt does not say.
    """

    article_id: str | None = None
    title: str = ""
    date: str = ""
    text: str = ""
    chunks: tuple[Chunk, ...] = ()
    facts: KeyFacts = KeyFacts()
    topic: str = ""


@dataclass(frozen=True, slots=True)
class ArticleFact:
    """A fact that a reference caption of a photo states, and the sentence of the article that states it:
    `sentence`, which is `article.text[start:end]`.

    `position` says how far into the article it begins, from 0 to 1.
    """

    name: str
    article_id: str
    start: int
    end: int
    position: float
    sentence: str


@dataclass(frozen=True, slots=True)
class FusionExample:
    """One photo ready for the fuser. `prompt_ids` end where the completion begins; `completion_ids` carry the loss,
    unless all tokens do, and end with the token that ends a turn. They are empty where the answer is hidden.

    `evidence` is what the prompt says of the article, in words, and `base_caption` what it says of the picture: what a
    choice among candidates is checked against, and what a caption may be kept to the names of. `target_words` is the
    length of this photo's caption, where each has its own.
    """

    query_id: str
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...] = ()
    evidence: str = ""
    target_words: int | None = None
    base_caption: str = ""


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


class ArticleLookup(Collection[str], Protocol):
    """Articles by id, read when asked for: a collection of the ids. `source` is the file that they come from."""

    source: Path

    def __getitem__(self, article_id: str) -> Article:
        """The article; ValueError if there is none."""

    def article_ids_of_image(self, image_id: str) -> Sequence[str]:
        """The articles that a photo was printed with, in their order; none for an unknown photo."""


@runtime_checkable
class NewsSource(Protocol):
    """News photos and articles on disk. Construction reads nothing; every method may raise ValueError naming file,
    line or key. A source that inherits from this class has, until it says otherwise, nothing to prepare, no notes, no
    facts, no published counts, no test server, no base captions of its own and nothing untrue to tell.

    - `kind` is what the source is for; triplets are of another.
    - `published_counts` are the rows of its published files by part, and `articles`.
    - `submission_format` names the class of its test server's file, a `submission.formats.CaptionFormat`, by module and
      name: submissions stand above data.
    - `untrue_article_kinds` and `untrue_caption_kinds` are the kinds of untruth that it can tell by its facts:
      `untrue_article` and `untrue_base_caption`.
    """

    kind: ClassVar[str] = "captions"
    published_counts: Mapping[str, int] = MappingProxyType({})
    submission_format: str | None = None
    untrue_article_kinds: tuple[str, ...] = ()
    untrue_caption_kinds: tuple[str, ...] = ()

    name: str
    root: Path
    docs_page: str
    splits: tuple[str, ...]

    def prepare(self) -> None:
        """Makes what can be made: a generated set. Called before anything is read, and again."""
        return

    def notes(self, split: str) -> list[str]:
        """What the doctor should say about a split beside missing photos, a line each."""
        return []

    def articles(self, show_progress: bool = True) -> ArticleLookup:
        """The articles by id."""

    def queries(self, split: str) -> Sequence[NewsQuery]:
        """The photos to caption, in file order."""

    def article_files(self) -> Sequence[Path]:
        """Files that the articles are read from beside `articles().source`."""
        return ()

    def base_captions(self, split: str) -> Mapping[str, str]:
        """What can be seen in the photos of a split, by query id, where the set says it itself: for photos that no file
        of base captions is named for.
        """
        return {}

    def facts(self, split: str) -> Mapping[str, Sequence[ArticleFact]]:
        """The facts that each photo's references state, by query id, where a set knows them; else empty."""
        return {}

    def kinds_of_event(self, split: str) -> Mapping[str, str]:
        """What kind of event each photo is of, by query id, where a set knows; else empty."""
        return {}

    def answers_hidden(self, split: str) -> bool:
        """Whether the split has no reference captions."""

    def image_path(self, split: str, query_id: str) -> Path:
        """The file of a query photo, always inside `root`. It need not exist."""

    def database_image_path(self, image_id: str) -> Path:
        """The file of a photo printed with an article, always inside `root`. It need not exist."""

    def gallery(self) -> Iterable[GalleryImage]:
        """Every photo printed with an article once, in a fixed order."""

    def untrue_article(self, article: Article, kind: str, rng: random.Random) -> tuple[Article, dict[str, str]] | None:
        """The article with facts of this kind that are not those of its event, and what is said in the place of what is
        true; None where the kind does not apply.
        """
        return None

    def untrue_base_caption(self, split: str, query_id: str, kind: str, rng: random.Random) -> str | None:
        """What can be seen in a photo, of this kind of untruth; None where it does not apply."""
        return None


@dataclass(frozen=True)
class FusionBatch(Movable):
    """A packed training batch: several examples share a row, and none sees another.

    `input_ids`, `position_ids`, `labels` and `segments` are int64 (B, L). Positions restart at 0 with each example;
    `labels` hold the token itself where it is to be predicted from the tokens before it in its example, else -100;
    `segments` number a row's examples from 1, and are 0 on padding. Padded batches have one example a row. Labels and
    segments stay on the host, where the number of tokens is known from them.
    """

    query_ids: tuple[str, ...]
    input_ids: Tensor
    position_ids: Tensor
    labels: Tensor = field(metadata=ON_HOST)
    segments: Tensor = field(metadata=ON_HOST)

    @property
    def num_tokens(self) -> int:
        """Tokens that are not padding."""
        return int((self.segments > 0).sum())


@dataclass(frozen=True)
class PromptBatch(Movable):
    """Prompts padded on the left, longest first: `input_ids` and `attention_mask` int64 (B, L)."""

    query_ids: tuple[str, ...]
    input_ids: Tensor
    attention_mask: Tensor


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


@dataclass(frozen=True, slots=True)
class CheckedClaim:
    """A name, date or number of a caption, `caption[start:end]`, and whether the evidence states it."""

    text: str
    start: int
    end: int
    is_quantity: bool
    supported: bool


@runtime_checkable
class ClaimChecker(Protocol):
    """Looks up what captions claim (names, dates and numbers) in a text; `name` stands for what decides the answers."""

    name: str

    def unsupported(self, captions: Sequence[str], evidence: Sequence[str]) -> list[tuple[int, int]]:
        """Of each caption, how many of its claims its evidence does not state, and how many claims it makes."""

    def checked_claims(self, caption: str, evidence: str) -> list[CheckedClaim]:
        """The claims of one caption, in their order, each with whether its evidence states it."""


class TextTokenizer(Protocol):
    """What parts need of a language model's tokenizer."""

    eos_token_id: int
    pad_token_id: int | None

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a text."""

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        """The text of token ids."""


class CaptionData(Protocol):
    """What the captioning system and the commands ask of its data, a LightningDataModule whose loaders give
    `FusionBatch`.

    `name` and `source` are those of its only source, `evaluation_source` says whose article an evaluation sees
    (`retrieved`, `annotated`). `num_validation_rows`, known once there is a validation loader, counts them over all
    processes; `epoch_batches`, once there is a training loader, the batches of one pass.
    """

    kind: str
    name: str
    source: NewsSource
    validation_split: str
    evaluation_source: str
    num_validation_rows: int
    epoch_batches: float

    @property
    def max_tokens_per_batch(self) -> int:
        """No training batch has more on one process."""

    @property
    def tokenizer(self) -> TextTokenizer:
        """What prompts were made with."""

    def prepare_training(self) -> None:
        """Makes what can be made, and raises ValueError for what training and validation would miss. Before there is a
        system: missing data must not cost a model.
        """

    def untruths(self) -> list[dict[str, Any]]:
        """What was made untrue on purpose of the training data, with what was true, an object each; empty where nothing
        was.
        """

    def prepare_for(self, system: TrainableSystem) -> None:
        """Takes in what this system, which has no weights yet, wants of a batch; ValueError if that cannot be had."""

    def prepare_from_weights(self, system: TrainableSystem, device: torch.device) -> None:
        """Makes what needs the system's weights, which are loaded now."""

    def prepare_evaluation(self, split: str) -> None:
        """Makes what can be made, and raises ValueError for what captioning the split would miss."""

    def split_data(self, split: str, evidence_source: str | None = None, whole_article: bool = False) -> Any:
        """The prepared examples of a split (a `data.news.fusion_cache.FusionData`)."""

    def candidates(self, split: str) -> Mapping[str, Sequence[Candidate]]:
        """The retrieved candidates of every photo of the split."""

    def labelled_tokens_per_batch(self, batch_idx: int) -> float:
        """What a training batch's summed loss is divided by."""

    def validation_row(self, batch_idx: int) -> int:
        """The row that this process's validation batch holds, counted over all processes."""

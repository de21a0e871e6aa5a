"""Pipelines: stages, their records and failures, questions to models and their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


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


Result = Mapping[str, Any] | Failure  # what becomes of one id: a record, or why there is none


class SharedWork(Protocol):
    """What several processes do at once, each its share: predictions of a model, on as many devices as there are."""

    shows_progress: bool  # of its own; the runner shows none then

    def prepare(self) -> None:
        """Called in the first process before the others join it: what takes long, or writes files for all."""

    def run(self, trainer: Any, folder: Path, ids: Sequence[str], keep: Callable[[Sequence[Result]], None]) -> None:
        """Called in every process with its share of the ids, the stage's folder and the Lightning trainer; `keep` takes
        results as soon as they are there.
        """


class CostEstimate(Protocol):
    """What a stage has yet to ask of a model: `usual_usd` dollars, `most_usd` at most; None without a known price."""

    usual_usd: float | None
    most_usd: float | None

    def lines(self, name: str) -> Sequence[str]:
        """What is said of the stage of this name."""


class Stage(Protocol):
    """One step of a pipeline: for each of its ids a record, or a Failure. Construction reads nothing, costs nothing.

    `record_key` names the id in its records (`query_id`, `image_id`). `runtime_settings` are the constructor's
    arguments that do not decide the results: batch sizes, worker counts, and where files lie; a dot leads to an
    argument's own (`captioner.client.timeout_s`). `RecordStage` has defaults for what a stage does not need.
    """

    record_key: str
    runtime_settings: tuple[str, ...]

    def input_files(self) -> Sequence[Path]:
        """The files whose content decides the results, beside the settings."""

    def output_files(self) -> Sequence[Path]:
        """The files outside its folder that `write_output` makes."""

    def open_sink(self, folder: Path, part: int | None) -> RecordSink:
        """Where the records go; `part` numbers the process where several work at once."""

    def ids(self) -> Sequence[str]:
        """What is to be done: unique ids, in the order of the finished file. ValueError for input that cannot be."""

    def shared_work(self) -> SharedWork | None:
        """What makes the records on the trainer's devices; None where `process` makes them, in the first process."""

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """The results for these of the ids, in any order, each as soon as it is there."""

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """Called when all is done: writes what other programs read, out of the records in `folder`."""

    def estimate(self) -> CostEstimate | None:
        """What is yet to be asked; nothing is sent. None of a stage that asks nobody who is paid."""


class RecordReader(Protocol):
    """From ids to batches."""

    def read(self, record_id: str) -> Any:
        """What the model needs for one id, or a Failure."""

    def collate(self, items: Sequence[Any]) -> Any:
        """A batch of what `read` gave, without failures; tensors in it are moved to the model's device."""


class Predictor(Protocol):
    """A model that makes a stage's records, batch by batch, under Lightning."""

    batch_size: int
    num_workers: int

    def load_model(self) -> Any:
        """The torch module, weights loaded, on the CPU; the runner moves it. Called once by every process."""

    def reader(self) -> RecordReader:
        """Reads for the model, in worker processes: it is pickled, and must not hold the model."""

    def predict(self, model: Any, ids: Sequence[str], batch: Any) -> Sequence[Result] | Callable[[], Sequence[Result]]:
        """A record or failure for every id of the batch; or, while the device is still at work on them, what waits for
        them: it is called when the next batch has been begun.
        """


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model wrote. `finish_reason` is the server's word (`stop`, `length`, `content_filter`); `usage` counts
    tokens as the server does, and is empty where it does not; `latency_s` is that of the request that succeeded.
    `logprobs` are empty unless they were asked for and given: for each token of the answer the natural logarithms of
    the probabilities of the likeliest tokens in its place, by their texts, the token that was written first.
    """

    text: str
    finish_reason: str
    usage: Mapping[str, int]
    latency_s: float
    logprobs: Sequence[Mapping[str, float]] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """One question to a model. `key` is a hash of everything that decides its answer: stage, model, prompt, images and
    inputs. `messages` makes the chat messages (OpenAI's form) when their turn has come, so that only the pictures in
    flight are in memory. `num_input_tokens` is an estimate, for the cost. `num_logprobs` asks for the likeliest tokens
    in the place of each token of the answer, so many; who cannot give them gives the answer alone.
    """

    key: str
    stage: str
    record_id: str
    messages: Callable[[], Sequence[Mapping[str, Any]]] = field(repr=False)
    max_tokens: int
    num_input_tokens: int
    response_format: Mapping[str, Any] | None = None
    num_logprobs: int = 0

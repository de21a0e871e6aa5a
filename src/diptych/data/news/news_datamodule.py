"""News photos with evidence for Lightning: articles from retrieval, prompts prepared once, packed training batches."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset

from diptych.contracts.models import TrainableSystem
from diptych.contracts.news import Candidate, FusionExample, NewsSource
from diptych.data.news.corruption import NewsCorruption
from diptych.data.news.fusion_cache import FusionData, PreparedQuery, open_or_prepare
from diptych.data.news.fusion_inputs import FusionInputs
from diptych.data.news.fusion_preparation import FusionPreparation
from diptych.data.news.packing import PackedBatches, PackedCollator, pack
from diptych.data.news.written_captions import WrittenCaptions
from diptych.parallel.devices import on_gpu
from diptych.parallel.distributed import rank, world_size
from diptych.storage.folder_names import check_folder_name

log = logging.getLogger(__name__)

_FORMAT = 2  # raise when the same settings begin to give other examples
_SOURCES = ("retrieved", "annotated", "mixed")
_SHOWN = 5


class NewsDataModule(L.LightningDataModule):
    """Trains and evaluates on the photos of one news source, each with its article's evidence in the prompt.

    - `sources` holds one NewsSource; `preparation` makes prompts. Prepared examples lie in `cache`, under a key of
      every setting that matters.
    - `retrieval` is a file of ranked candidates for each split, `{split}` in its name; the first article is taken.
      `evidence_source` says whose article training sees: `retrieved`, `annotated`, or `mixed`, where `mixed_share` of
      the photos, chosen by a hash of seed and id, have the annotated one. Evaluation sees `evaluation_source`.
    - `base_captions` is a file too (see `read_base_captions`), `{split}` in its name if each has its own; null: none.
    - `row_length` tokens make a row, `batch_size` rows a batch. `packing` puts several examples into a row.
    - `captions` is a file of captions that a model wrote, which training has in the place of the references (see
      `WrittenCaptions`); validation and evaluation keep these.
    - `corruption` makes evidence and base captions untrue; None, or shares of 0, leave them alone.

    The position in the training data is part of the checkpoint: a resumed run continues with the next batch.
    """

    kind = "captions"
    writes: ClassVar[Mapping[str, str]] = {"cache": "*/settings.json"}

    def __init__(
        self,
        sources: Mapping[str, NewsSource],
        preparation: FusionPreparation,
        cache: str,
        retrieval: str | None = None,
        base_captions: str | None = None,
        evidence_source: str = "retrieved",
        evaluation_source: str = "retrieved",
        mixed_share: float = 0.5,
        row_length: int = 2048,
        batch_size: int = 1,
        packing: bool = True,
        validation_split: str = "val",
        seed: int = 0,
        corruption: NewsCorruption | None = None,
        captions: str | None = None,
    ) -> None:
        super().__init__()
        if len(sources) != 1:
            raise ValueError(f"data.sources must hold one source of news photos, found {list(sources)}")
        for key, value, known in (
            ("evidence_source", evidence_source, _SOURCES),
            ("evaluation_source", evaluation_source, _SOURCES[:2]),
        ):
            if value not in known:
                raise ValueError(f"data.{key}={value!r} is not one of {', '.join(known)}")
        if not 0 <= mixed_share <= 1:
            raise ValueError(f"data.mixed_share={mixed_share} must be between 0 and 1")
        self.sources, self.preparation, self.cache = dict(sources), preparation, Path(cache)
        ((self.name, self.source),) = self.sources.items()
        check_folder_name(self.name, "data.sources:")
        self.inputs = FusionInputs(self.source, retrieval, base_captions, mixed_share, seed, corruption)
        self.evidence_source, self.evaluation_source = evidence_source, evaluation_source
        self.captions = None if captions is None else WrittenCaptions(captions)
        self.row_length, self.batch_size, self.packing = row_length, batch_size, packing
        self.validation_split, self.seed = validation_split, seed
        self.start_batch, self._checked, self._prompt_labels = 0, False, False
        self._splits: dict[tuple[str, str, bool, bool], FusionData] = {}

    # ------------------------------------------------------------------------------------------------ preparing

    def prepare_training(self) -> None:
        """Makes what can be made (a generated set, the examples of train and val), and raises ValueError for what
        training and validation would miss.
        """
        self.prepare_evaluation(self.validation_split)
        self.training_data()

    def untruths(self) -> list[dict[str, Any]]:
        """What `corruption` made untrue in what is trained on, with what was true, an object each."""
        return self.inputs.untruths("train", self.evidence_source)

    def prepare_for(self, system: TrainableSystem) -> None:
        """Takes in whether prompts carry a loss."""
        self._prompt_labels = "prompt_labels" in system.wants

    def prepare_from_weights(self, system: TrainableSystem, device: torch.device) -> None:
        """Nothing: prompts need no weights."""

    def prepare_evaluation(self, split: str) -> None:
        """Makes what can be made, and raises ValueError for what captioning the split would miss."""
        self.source.prepare()
        self.split_data(split)

    def split_data(self, split: str, evidence_source: str | None = None, whole_article: bool = False) -> FusionData:
        """The prepared examples of a split that is evaluated; with another `evidence_source` than the datamodule's, or
        the articles from their start instead of chosen chunks, if asked for.
        """
        return self._prepared(split, evidence_source or self.evaluation_source, whole_article)

    def candidates(self, split: str) -> Mapping[str, Sequence[Candidate]]:
        """The retrieved candidates of every photo of the split, best first, each article once."""
        return self.inputs.candidates(split)

    def training_data(self) -> FusionData:
        """The prepared examples of the training split; raises ValueError when some are longer than a row."""
        data = self._prepared("train", self.evidence_source, trains=True)
        if not self._checked:
            self._check_lengths(data, "train")
            self._checked = True
        return data

    def _prepared(
        self, split: str, evidence_source: str, whole_article: bool = False, trains: bool = False
    ) -> FusionData:
        written = self.captions if trains else None
        key = (split, evidence_source, whole_article, written is not None)
        if key not in self._splits:
            queries = self.source.queries(split)
            queries = queries if written is None else written.of(queries)
            preparation = self.preparation.with_whole_article() if whole_article else self.preparation
            read = self.inputs.reader(split, evidence_source)
            settings = {
                "format": _FORMAT,
                **self.inputs.settings(split, evidence_source),
                "preparation": preparation.settings(),
                **({} if written is None else {"captions": dict(written.settings())}),
            }
            preparation.check([query.query_id for query in queries])

            def prepare(start: int, stop: int) -> list[PreparedQuery]:
                prepared = preparation.prepare([read(query) for query in queries[start:stop]])
                if written is not None:
                    written.check_evidence(prepared)
                return prepared

            title = f"preparing {self.name} {split}"
            self._splits[key] = open_or_prepare(self.cache, settings, len(queries), prepare, title=title)
        return self._splits[key]

    def _check_lengths(self, data: FusionData, split: str) -> None:
        if not data.completion_lengths.all():
            raise ValueError(
                f"{self.name} {split}: photos without a reference caption can be neither trained nor validated on"
            )
        too_long = (data.lengths > self.row_length).nonzero()[0]
        if len(too_long):
            names = ", ".join(data[int(position)].query_id for position in too_long[:_SHOWN])
            raise ValueError(
                f"{self.name} {split}: {len(too_long)} of {len(data)} examples have more than data.row_length="
                f"{self.row_length} tokens with their caption, the longest {int(data.lengths.max())}: {names}; raise"
                " it, or lower data.preparation.max_prompt_tokens"
            )

    # ------------------------------------------------------------------------------------------------ loaders

    @property
    def max_tokens_per_batch(self) -> int:
        """Those of rows that are full."""
        return self.row_length * self.batch_size

    @property
    def tokenizer(self) -> Any:
        """The transformers tokenizer that prompts are made with."""
        return self.preparation.tokenizer.hf

    def train_dataloader(self) -> DataLoader:
        """One epoch is the whole run, `trainer.max_steps` optimizer steps; passes over the data follow seamlessly."""
        data = self.training_data()
        assert self.trainer is not None
        # All rows of an optimizer step, whichever process and micro-batch they are in.
        self._accumulated = self.trainer.accumulate_grad_batches
        self._steps = enumerate(
            self._batches(data, self._accumulated * world_size(), start_batch=self.start_batch // self._accumulated),
            start=self.start_batch // self._accumulated,
        )
        self._step, self._step_tokens = -1, 0
        sampler = self._batches(data, 1, rank=rank(), world_size=world_size(), start_batch=self.start_batch)
        self.epoch_batches = sampler.num_batches(passes=1)
        log.info(
            "%d examples, %d batches a pass, %.1f %% padding",
            len(data),
            self.epoch_batches,
            100 * sampler.padding_share(),
        )
        return self._loader(data, sampler)

    def labelled_tokens_per_batch(self, batch_idx: int) -> float:
        """What a batch's summed loss is to be divided by, so that the gradient of its optimizer step, averaged over
        micro-batches and processes, is that of the mean over all the step's labelled tokens.
        """
        while self._step < batch_idx // self._accumulated:
            self._step, rows = next(self._steps)
            data = self.training_data()
            labelled = data.lengths - 1 if self._prompt_labels else data.completion_lengths  # as the collator labels
            self._step_tokens = sum(int(labelled[example]) for row in rows for example in row)
        return self._step_tokens / (self._accumulated * world_size())

    def val_dataloader(self) -> DataLoader:
        """The validation split in packed rows, each once over all processes; one without any repeats the first."""
        data = self.split_data(self.validation_split)
        self._check_lengths(data, self.validation_split)
        rows = pack(data.lengths.tolist(), self.row_length)
        self.num_validation_rows = len(rows)
        own = rows[rank() :: world_size()] or rows[:1]
        return self._loader(data, [[row] for row in own])

    def validation_row(self, batch_idx: int) -> int:
        """The row that this process's validation batch holds, counted over all processes."""
        row = batch_idx * world_size() + rank()
        return row if row < self.num_validation_rows else 0

    def _batches(self, data: FusionData, times: int, **place: int) -> PackedBatches:
        rows = self.batch_size * times
        return PackedBatches(data.lengths.tolist(), self.row_length, rows, self.seed, packing=self.packing, **place)

    def _loader(self, data: FusionData, batches: Iterable[list[list[int]]]) -> DataLoader:
        pad = self.tokenizer.pad_token_id
        pad = self.tokenizer.eos_token_id if pad is None else pad
        collator = PackedCollator(self.row_length, pad, self._prompt_labels)
        return DataLoader(_Rows(data), batch_sampler=batches, collate_fn=collator, pin_memory=on_gpu())

    def state_dict(self) -> dict[str, Any]:
        """How many batches are done."""
        assert self.trainer is not None
        progress = self.trainer.fit_loop.epoch_loop.batch_progress.current
        return {"batches": progress.processed}  # type: ignore[attr-defined]  # Lightning types it as its parent class

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues with the batch after the last one done."""
        self.start_batch = state_dict["batches"]


class _Rows(Dataset):
    """Rows of examples by their positions."""

    def __init__(self, data: FusionData) -> None:
        self.data = data

    def __getitem__(self, row: Sequence[int]) -> list[FusionExample]:
        return [self.data[position] for position in row]

"""A stage's model under Lightning: reading in worker processes, predicting on the trainer's device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset

from diptych.contracts.pipelines import Failure, Predictor, RecordReader, Result
from diptych.parallel.devices import on_gpu


class Prediction:
    """The SharedWork of a stage whose records a model makes."""

    shows_progress = False

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def prepare(self) -> None:
        """Nothing: weights are loaded where they are needed."""

    def run(
        self, trainer: L.Trainer, folder: Path, ids: Sequence[str], keep: Callable[[Sequence[Result]], None]
    ) -> None:
        """Predicts these records in this process."""
        predict(trainer, self.predictor, ids, keep)


def predict(
    trainer: L.Trainer, predictor: Predictor, ids: Sequence[str], keep: Callable[[Sequence[Result]], None]
) -> None:
    """Calls `keep` with the results of each batch, one for every id: as soon as they are there, or when the next batch
    has been begun, where the predictor leaves them to the device for so long. Whatever ends it, what was made is kept.
    """
    reader = predictor.reader()
    loader = DataLoader(
        _Readings(reader, ids),
        batch_size=predictor.batch_size,
        num_workers=min(predictor.num_workers, len(ids)),
        collate_fn=_Collator(reader),
        multiprocessing_context="spawn" if predictor.num_workers else None,  # a fork of running threads can hang
        pin_memory=on_gpu(),
    )
    model = _LentModel(predictor, keep)
    try:
        trainer.predict(model, loader, return_predictions=False)
    finally:
        model.keep_begun()


class _LentModel(L.LightningModule):
    """Lends the stage's model to Lightning, which moves it and the batches to the device."""

    def __init__(self, predictor: Predictor, keep: Callable[[Sequence[Result]], None]) -> None:
        super().__init__()
        self.predictor, self.keep = predictor, keep
        self.model: Any = None
        self._begun: Callable[[], Sequence[Result]] | None = None

    def configure_model(self) -> None:
        """Loads the weights, now that this process has its device: quantised ones go straight onto it."""
        if self.model is None:
            self.model = self.predictor.load_model()

    def predict_step(self, batch: tuple[list[str], Any, list[tuple[str, str, str]]], batch_idx: int) -> None:
        ids, content, failures = batch
        with torch.autocast(self.device.type, enabled=False):  # precision is the model's own affair
            results = self.predictor.predict(self.model, ids, content) if ids else []
        self.keep_begun()
        failed = [Failure(*failure) for failure in failures]
        if callable(results):
            wait = results
            self._begun = lambda: [*wait(), *failed]
        else:
            self.keep([*results, *failed])

    def keep_begun(self) -> None:
        """Keeps the results of the batch before, if the device was at work on them."""
        begun, self._begun = self._begun, None
        if begun is not None:
            self.keep(begun())


class _Readings(Dataset):
    """What the stage's reader gives for each id."""

    def __init__(self, reader: RecordReader, ids: Sequence[str]) -> None:
        self.reader, self.ids = reader, ids

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, position: int) -> tuple[str, Any]:
        return self.ids[position], self.reader.read(self.ids[position])


class _Collator:
    """Ids, the batch of what was read, and the failures as plain tuples, which Lightning passes on untouched."""

    def __init__(self, reader: RecordReader) -> None:
        self.reader = reader

    def __call__(self, items: Sequence[tuple[str, Any]]) -> tuple[list[str], Any, list[tuple[str, str, str]]]:
        failures = [(read.record_id, read.reason, read.message) for _, read in items if isinstance(read, Failure)]
        good = [(name, read) for name, read in items if not isinstance(read, Failure)]
        ids = [name for name, _ in good]
        return ids, self.reader.collate([read for _, read in good]) if good else None, failures

"""Retrieval examples with pictures, in the tracker, after each validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import lightning as L

from diptych.contracts.retrieval import EvaluationSet, RankedQuery, RetrievalData
from diptych.contracts.training import RetrievalSystem
from diptych.loggers.wandb_logger import ForgivingWandbLogger
from diptych.parallel.distributed import rank
from diptych.photos.photo_file import read_photo

_SIDE = 160  # pixels, the longer one


class RetrievalExamples(L.Callback):
    """Sends a table of the first `num_queries` validation queries to wandb: reference, text, target and the first
    `num_results` images found. Without a wandb logger it does nothing.
    """

    def __init__(self, num_queries: int = 8, num_results: int = 5) -> None:
        self.num_queries, self.num_results = num_queries, num_results

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Sends the table; a tracker's failure is the logger's to swallow."""
        trackers = [logger for logger in trainer.loggers if isinstance(logger, ForgivingWandbLogger)]
        if rank() != 0 or not trackers:
            return
        data: RetrievalData = trainer.datamodule  # type: ignore[attr-defined]  # set out of mypy's sight
        sets = data.evaluation_sets(data.validation_split)
        columns = ["query_id", "text", "target_rank", "reference", "target", *map(str, range(1, self.num_results + 1))]
        for evaluation, result in zip(sets, cast(RetrievalSystem, module).results, strict=True):
            rows = [self._row(evaluation, number, result.ranked[number]) for number in range(self._count(evaluation))]
            for tracker in trackers:
                tracker.log_table(f"examples/{evaluation.name}", columns=columns, data=rows, step=trainer.global_step)

    def _count(self, evaluation: EvaluationSet) -> int:
        return min(self.num_queries, len(evaluation.queries))

    def _row(self, evaluation: EvaluationSet, number: int, ranked: RankedQuery) -> list[Any]:
        query = evaluation.queries[number]
        paths = {image.image_id: image.path for image in evaluation.gallery}
        reference = _picture(evaluation.reference_paths[query.reference_image])
        target = _picture(paths[query.target_image]) if query.target_image in paths else None
        found = [_picture(paths[image_id]) for image_id in ranked.ranked_ids[: self.num_results]]
        found += [None] * (self.num_results - len(found))
        return [query.query_id, query.text, ranked.target_rank, reference, target, *found]


def _picture(path: Path) -> Any:
    """A small wandb image; wandb is only imported where it is used."""
    import wandb

    return wandb.Image(read_photo(path, _SIDE))

"""Stages that ask a model about pairs of images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from diptych.annotation.task import Task
from diptych.data.pairs.image_pairs import ImagePair, Pairs, read_pairs
from diptych.stages.annotation.asking import Asking
from diptych.stages.annotation.question_stage import QuestionStage


class AskStage(QuestionStage):
    """Asks a model one question for each pair, or image, of the task's file of pairs."""

    record_key = "pair_id"
    runtime_settings: tuple[str, ...] = (
        *("task.pairs", "task.images_root", "references", "targets"),  # paths of input files, whose content counts
        *QuestionStage.runtime_settings,
    )

    def __init__(self, asking: Asking, task: Task) -> None:
        super().__init__(asking, task)
        self.task = task

    def input_files(self) -> Sequence[Path]:
        """The file of pairs."""
        return [Path(self.task.pairs)]

    @cached_property
    def _read_pairs(self) -> Pairs:
        return read_pairs(Path(self.task.pairs), self.task.images_root)

    @cached_property
    def pairs(self) -> dict[str, ImagePair]:
        """All pairs by id, in file order."""
        return {pair.pair_id: pair for pair in self._read_pairs.pairs}

    def ids(self) -> Sequence[str]:
        """All pairs, in file order."""
        return [pair.pair_id for pair in self._read_pairs.pairs]

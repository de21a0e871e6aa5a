"""The stage that holds the weights of a training's triplets against what was known to be untrue of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from diptych.contracts.pipelines import Failure, Result
from diptych.contracts.retrieval import MetricMeaning
from diptych.results.record import METRICS, EvaluationRecord
from diptych.stages.running.record_stage import RecordStage
from diptych.storage.json_files import read_json_lines
from diptych.systems.triplet_weights import FILE

UNTRUTHS = "untruths.jsonl"
_SIGN = {"weight": 1, "loss": -1, "margin": 1}  # times it, the doubtful ones have the smaller numbers


class MeasureNoise(RecordStage):
    """How well the training in the folder `run` told untrue texts from true ones: its triplet_weights.jsonl against its
    untruths.jsonl, which names those that `data.corruption` made untrue.

    The most doubtful come first by `by`: `weight`, or one of the numbers that it rests on alone, `loss` or `margin`.
    Doubted are those of a weight under 0.5, and by another number as many. Into metrics.json of the folder `output`:
    `average_precision`, `precision` (of the doubted, the untrue) and `recall` (of the untrue, the doubted); and of all
    triplets, the shares `doubted` and `untrue`, which is about the average precision of chance. Untrue texts that were
    not judged come last, and count as believed.

    Raises:
        ValueError: `by` is another word.
    """

    runtime_settings = ("name", "output")

    def __init__(self, run: str | Path, by: str, name: str, output: str | Path) -> None:
        if by not in _SIGN:
            raise ValueError(f"by={by} is not one of {', '.join(_SIGN)}")
        self.run, self.by, self.name, self.output = Path(run), by, name, Path(output)

    def input_files(self) -> Sequence[Path]:
        """What the training left."""
        return [self.run / FILE, self.run / UNTRUTHS]

    def output_files(self) -> Sequence[Path]:
        """metrics.json, which comes last."""
        return [self.output / METRICS]

    def ids(self) -> Sequence[str]:
        """The number that doubt is measured by. ValueError where the run weighed none, or knows of no untrue text."""
        return [self.by] if self._ordered else []

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """How many were judged, doubted and untrue."""
        untrue = [name for name, is_untrue in self._ordered.items() if is_untrue]
        for name in ids:
            yield {"query_id": name, "judged": len(self._lines), "doubted": self._num_doubted, "untrue": len(untrue)}

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """metrics.json, into `output`."""
        untrue, num_doubted = np.array([*self._ordered.values()]), self._num_doubted
        precisions = untrue.cumsum() / np.arange(1, len(untrue) + 1)
        metrics = {
            "average_precision": float(precisions[untrue].mean()),
            "precision": float(precisions[num_doubted - 1]) if num_doubted else math.nan,
            "recall": float(untrue[:num_doubted].sum() / untrue.sum()),
            "doubted": num_doubted / len(untrue),
            "untrue": float(untrue.mean()),
        }
        about: dict[str, Any] = {"experiment": self.name, "data": ["triplets"], "split": "train", "by": self.by}
        record = EvaluationRecord(
            {**about, "checkpoint": None, "seed": None, "world_size": 1},
            num_scored=len(untrue),
            num_expected=len(untrue),
            metrics=metrics,
            meanings={
                name: MetricMeaning("fraction", None if name in ("doubted", "untrue") else "higher") for name in metrics
            },
            lines={},
        )
        record.write(self.output)
        record.print(self.output)

    @cached_property
    def _ordered(self) -> dict[str, bool]:
        """By triplet whether it is untrue, those in front that are doubted most."""
        untrue = {_name(one) for one in read_json_lines(self.run / UNTRUTHS, advice=_UNTRUE, shape=_TEXT)}
        doubts: dict[str, float] = {_name(one): _SIGN[self.by] * one[self.by] for one in self._lines}
        doubts |= dict.fromkeys(sorted(untrue - doubts.keys()), math.inf)  # not judged
        return {name: name in untrue for name in sorted(doubts, key=doubts.__getitem__)}

    @cached_property
    def _lines(self) -> list[Mapping[str, Any]]:
        return read_json_lines(self.run / FILE, advice=_WEIGHED, shape=_NUMBERS)

    @property
    def _num_doubted(self) -> int:
        return sum(one["weight"] < 0.5 for one in self._lines)


_TEXT = {"query_id": str, "text": str}
_NUMBERS = {**_TEXT, "loss": float, "margin": float, "weight": float}
_WEIGHED = "train with system/noise=mixture, for longer than its warm_up"
_UNTRUE = "train with data.corruption.untrue=0.2: of other texts nobody knows which are untrue"


def _name(line: Mapping[str, Any]) -> str:
    return f"{line['query_id']}: {line['text']}"

"""Small stages for the tests of what runs them."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from diptych.contracts.pipelines import Failure, SharedWork
from diptych.stages.running.prediction import Prediction
from diptych.stages.running.record_stage import RecordStage
from diptych.storage.record_log import RecordLog


class Squares(RecordStage):
    """The squares of the numbers in a file; those in `bad` fail. Kills its process before the `die_at`-th record."""

    runtime_settings = ("input", "output", "die_at", "pause")

    def __init__(
        self,
        input: str,
        bad: Sequence[int] = (),
        power: int = 2,
        output: str | None = None,
        die_at: int | None = None,
        pause: float = 0.0,
    ) -> None:
        self.input, self.output = Path(input), Path(output) if output else None
        self.bad, self.power, self.die_at, self.pause = set(bad), power, die_at, pause
        self.calls: list[str] = []

    def input_files(self) -> Sequence[Path]:
        return [self.input]

    def output_files(self) -> Sequence[Path]:
        return [self.output] if self.output else []

    def ids(self) -> Sequence[str]:
        return [str(number) for number in json.loads(self.input.read_text())]

    def process(self, ids: Sequence[str]) -> Iterator[dict[str, Any] | Failure]:
        for name in reversed(ids):  # any order
            if self.die_at is not None and len(self.calls) == self.die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            self.calls.append(name)
            time.sleep(self.pause)
            if int(name) in self.bad:
                yield Failure(name, "bad", f"{name} is bad")
            else:
                yield {"query_id": name, "value": int(name) ** self.power}

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        values = [record["value"] for record in RecordLog(folder / "records.jsonl").read().values()]
        for path in (folder / "values.json", *self.output_files()):
            path.write_text(json.dumps(values))


class ModelSquares(RecordStage):
    """Squares by a model; reading fails for the numbers in `bad`."""

    runtime_settings = ("num_workers", "batch_size", "input", "log")

    def __init__(
        self, input: str, bad: Sequence[int] = (), batch_size: int = 2, num_workers: int = 0, log: str | None = None
    ) -> None:
        self.input = Path(input)
        self.bad, self.batch_size, self.num_workers, self.log = tuple(bad), batch_size, num_workers, log

    def input_files(self) -> Sequence[Path]:
        return [self.input]

    def ids(self) -> Sequence[str]:
        return [str(number) for number in json.loads(self.input.read_text())]

    def shared_work(self) -> SharedWork:
        return Prediction(self)

    def reader(self) -> NumberReader:
        return NumberReader(self.bad)

    def load_model(self) -> nn.Module:
        return nn.Identity()

    def predict(self, model: nn.Module, ids: Sequence[str], batch: torch.Tensor) -> list[dict[str, Any]]:
        if self.log:
            with Path(self.log).open("a") as file:
                file.write("".join(f"{os.environ.get('LOCAL_RANK', 0)} {name}\n" for name in ids))
        squares = (model(batch) ** 2).tolist()
        return [{"query_id": name, "value": value} for name, value in zip(ids, squares, strict=True)]


class NumberReader:
    def __init__(self, bad: Sequence[int]) -> None:
        self.bad = bad

    def read(self, record_id: str) -> Any:
        return Failure(record_id, "unreadable", "bad number") if int(record_id) in self.bad else int(record_id)

    def collate(self, items: Sequence[int]) -> torch.Tensor:
        return torch.tensor(items)

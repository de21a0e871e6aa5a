"""Part 2: six steps in one, and in three, a checkpoint file and three."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from diptych.contracts.retrieval import TripletBatch
from gpu_parts.bench import Report, Setting, relative_error
from gpu_parts.models import cir_system, triplets
from gpu_parts.training import Batches, fit, trainer

NAME, SECONDS = "resume", 20
STEPS = 6


def run(setting: Setting, report: Report) -> None:
    """With deterministic algorithms every bit; without them the difference is told."""
    with deterministic() as undetermined:
        report.must_be("6 steps = 3 + checkpoint + 3, in every bit", lambda: float(_difference(setting)) == 0)
    if setting.rehearsal:
        return
    report.notes += [f"not deterministic: {what}" for what in sorted(undetermined)]
    difference = float(_difference(setting))
    report.notes.append(f"without deterministic algorithms the weights differ, relatively, by {difference:.3g}")


def _difference(setting: Setting) -> Tensor:
    """Of the weights after six steps in one and in two parts."""
    if setting.rehearsal:  # there are no files
        weights = _weights(setting, 1, None, None)
        return relative_error(weights, weights)
    whole = _weights(setting, STEPS, None, None)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "three.ckpt"
        _weights(setting, STEPS // 2, None, file)
        return relative_error(_weights(setting, STEPS, file, None), whole)


def _weights(setting: Setting, steps: int, start: Path | None, end: Path | None) -> list[Tensor]:
    """Those of a training up to a step, from a checkpoint, into a checkpoint."""
    system = cir_system(setting, micro_batch_size=setting.of(16, 2), dropout=0.1)
    if start is not None:
        with torch.no_grad():
            for parameter in system.parameters():
                parameter.zero_()  # all of them come from the file
    made = trainer(setting, steps)
    fit(setting, made, system, Batches(lambda number: batch(setting, number)), ckpt_path=start)
    if end is not None:
        made.save_checkpoint(end)
    return [parameter.detach() for parameter in system.parameters()]


def batch(setting: Setting, number: int) -> TripletBatch:
    """That of a step; drawing it leaves the generators as they were."""
    devices = [setting.device] if setting.on_gpu() and not setting.rehearsal else []
    with torch.random.fork_rng(devices):
        return triplets(setting, setting.of(32, 4), number)


@contextlib.contextmanager
def deterministic() -> Iterator[set[str]]:
    """Deterministic algorithms; which operators have none."""
    undetermined: set[str] = set()
    torch.use_deterministic_algorithms(True, warn_only=True)
    before = warnings.showwarning

    def noted(message: object, *_: object) -> None:
        if "deterministic" in str(message):
            undetermined.add(str(message).split(". ")[0][:160])

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = noted  # type: ignore[assignment]
        try:
            yield undetermined
        finally:
            torch.use_deterministic_algorithms(False)
            warnings.showwarning = before

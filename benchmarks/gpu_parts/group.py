"""Part 8: what several processes do, in a group of one."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch.strategies import DDPStrategy

from diptych.parallel.distributed import any_rank, gather_rows
from diptych.parallel.sharding import ShardedStrategy
from gpu_parts.bench import Report, Setting
from gpu_parts.models import cir_system, triplets
from gpu_parts.training import Batches, Clock, fit, trainer

NAME, SECONDS = "group", 25
CHECKPOINT_BYTES = 2_170_000_000  # of ViT-B/32 with its optimizer
OF_GROUPS = ("distributed", "nccl", "process group", "AccumulateGrad", "reducer", "DTensor", "fsdp")


def run(setting: Setting, report: Report) -> None:
    """Steps, collectives, a sharded checkpoint, the end of the group; the parts of saving a checkpoint."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for name, strategy in (("DDP", DDPStrategy), ("sharded", ShardedStrategy)):
            with report.attempt(name):
                try:
                    _steps(setting, report, name, strategy)
                finally:
                    if dist.is_initialized():
                        report.row(f"{name}: end of the group", ms=setting.wall(dist.destroy_process_group))
    said = sorted({str(one.message) for one in found if any(word in str(one.message) for word in OF_GROUPS)})
    report.notes += [f"warning: {text[:200]}" for text in said]
    report.must_be("no warning of groups", lambda: not said)
    with report.attempt("saving"):
        _saving(setting, report)


def _steps(setting: Setting, report: Report, name: str, strategy: Callable[..., Any]) -> None:
    backend = "nccl" if setting.on_gpu() else "gloo"
    if setting.rehearsal:
        if strategy is DDPStrategy:
            setting.needs_values("DDP's reducer")
        import torch.testing._internal.distributed.fake_pg  # noqa: F401  # registers the backend

        backend = "fake"
    steps, size = setting.of(12, 2), setting.of(256, 4)
    batches = [triplets(setting, size, number) for number in range(2)]
    clock, system = Clock(setting, setting.of(2, 1)), cir_system(setting)
    made = trainer(setting, steps, [clock], strategy=strategy(process_group_backend=backend))
    fit(setting, made, system, Batches(lambda number: batches[number % 2]), quiet=False)
    report.row(f"{name}: step of {size}", ms=clock.ms)
    _collectives(setting, report, name)
    if strategy is ShardedStrategy:
        setting.needs_values("files")
        with tempfile.TemporaryDirectory(dir=setting.out) as folder:
            file = Path(folder) / "last.ckpt"
            report.row("sharded: save", ms=setting.wall(partial(made.save_checkpoint, file)))
            again = trainer(setting, steps + 1, strategy=strategy(process_group_backend=backend))
            data = Batches(lambda number: batches[number % 2])
            load = partial(fit, setting, again, cir_system(setting), data, quiet=False, ckpt_path=file)
            report.row("sharded: load and a step", ms=setting.wall(load))


def _collectives(setting: Setting, report: Report, name: str) -> None:
    """In a group of one; `any_rank` and `gather_rows` then ask nobody."""
    number, rows = torch.ones(1, device=setting.device), torch.randn(setting.of(10_000, 10), 512)
    gathered = torch.empty(len(rows), 512, device=setting.device)
    calls: dict[str, Callable[[], object]] = {
        "barrier": dist.barrier,
        "all_reduce of a number": partial(dist.all_reduce, number),
        "all_gather of embeddings": partial(dist.all_gather_into_tensor, gathered, rows.to(setting.device)),
        "any_rank": partial(any_rank, False),
    }
    if not setting.rehearsal:
        calls["gather_rows"] = partial(gather_rows, torch.arange(len(rows)), {"rows": rows}, len(rows), "rows")
    for what, call in calls.items():
        call()
        report.row(f"{name}: {what}", ms=setting.wall(call))


def _saving(setting: Setting, report: Report) -> None:
    """A checkpoint's bytes from the card to the host, into a file, and onto the disk of --out."""
    setting.needs_values("files")
    size = setting.of(CHECKPOINT_BYTES, 10**6)
    state = torch.randint(256, (size,), dtype=torch.uint8, device=setting.device)
    kept: list[torch.Tensor] = []
    report.row(f"{size / 1e9:g} GB from the card", ms=setting.wall(lambda: kept.append(state.cpu())))
    with tempfile.NamedTemporaryFile(dir=setting.out) as file:
        report.row(f"{size / 1e9:g} GB written", ms=setting.wall(lambda: torch.save(kept[0], file)))

        def onto_the_disk() -> None:
            file.flush()
            os.fsync(file.fileno())

        report.row(f"{size / 1e9:g} GB onto the disk", ms=setting.wall(onto_the_disk))

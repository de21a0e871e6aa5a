"""Training on 100 million triplets with 64 GPUs, on paper: what it reads, decodes, sends, keeps and takes.

`python benchmarks/scale.py [--triplets 1e8] [--gpus 64] [--markdown]` measures rates on this machine for about a
minute, puts them into the formulas of scale_formulas.py and prints a table. Figures are counted (from the real model or
a file format), measured here, or assumed; assumptions are arguments. Every figure has a low, a middle and a high value:
of a rate the slowest, median and fastest of some repeats, of the rest by interval arithmetic (each sum, product and
quotient takes the worst of both), so bounds hold even where errors go together, and are wide. `--quick` is for the
tests.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch

from decoding import SPEC
from scale_formulas import (
    FLOAT,
    Number,
    Range,
    adamw_bytes,
    as_range,
    checkpoint_bytes,
    exact_index_bytes,
    fsdp_bytes,
    gather_bytes,
    gradient_bytes,
    hnsw_bytes,
    ivf_pq_bytes,
    logits_bytes,
    loss_flops,
    plain_form_bytes,
    prepared_bytes,
    search_flops,
    triplet_bytes,
)
from scale_rates import Rates, measure
from side_by_side import machine_line


@dataclass(frozen=True)
class Row:
    """A line of the table: `value` in units of `unit`, and what it rests on."""

    what: str
    value: Number
    unit: str
    basis: str

    def cells(self) -> tuple[str, ...]:
        """Text, low, middle, high, unit, basis; a figure without uncertainty stands in the middle alone."""
        value = as_range(self.value)
        low, middle, high = (_figure(number) for number in (value.low, value.middle, value.high))
        return (self.what, *(("", middle, "") if low == high else (low, middle, high)), self.unit, self.basis)


def _figure(number: float) -> str:
    """Three significant digits."""
    if number == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(number))))
    return f"{round(number, 2 - math.floor(math.log10(abs(number)))):,.{digits}f}"


def table(plan: argparse.Namespace, rates: Rates) -> list[Row]:
    """All lines for a plan; `plan` is what `parse` gives."""
    speed = plan.gpus * Range(*plan.utilisation) * plan.peak * 1e12 / rates.flops  # triplets/s that the GPUs take
    return [
        *_rate_rows(rates),
        *_reading_rows(plan, rates, speed),
        *_sending_rows(plan, rates, speed),
        *_keeping_rows(plan, rates),
        *_hour_rows(plan, rates, speed),
    ]


def _rate_rows(rates: Rates) -> list[Row]:
    rows = [
        Row("a photo", rates.photo / 1e3, "kB", "measured (JPEG quality 75, 90, 95)"),
        Row("decoding and resizing, a core", rates.decode, "images/s", "measured"),
        Row("reading a tar, a process", rates.tar / 1e6, "MB/s", "measured"),
        Row("writing a checkpoint, synced", rates.checkpoint / 1e6, "MB/s", "measured"),
        Row("matrix product, float32", rates.product / 1e9, "GFLOP/s", "measured"),
        Row("the loss, forward and backward", rates.loss / 1e9, "GFLOP/s", "measured"),
        Row("parameters", rates.parameters / 1e6, "million", "counted"),
        Row("a triplet, forward and backward", rates.flops / 1e9, "GFLOP", "counted"),
    ]
    step = [] if rates.step is None else [Row("training step, a core", rates.step, "triplets/s", "measured")]
    return rows + step


def _reading_rows(plan: argparse.Namespace, rates: Rates, speed: Range) -> list[Row]:
    each, prepared = triplet_bytes(rates.photo), prepared_bytes(SPEC.size)
    cores = Range(*plan.cores_per_gpu)
    return [
        Row("read in an epoch, photos in tars", plan.triplets * each / 1e12, "TB", "measured"),
        Row("read in an epoch, prepared cache", plan.triplets * prepared / 1e12, "TB", "counted"),
        Row(
            "list of triplets of a rank, without shards",
            plain_form_bytes(plan.triplets, rates.record) / 1e9,
            "GB",
            "measured",
        ),
        Row("triplets that the GPUs take", speed, "triplets/s", "assumed"),
        Row("read in a second, photos in tars", speed * each / 1e9, "GB/s", "measured, assumed"),
        Row("read in a second, prepared cache", speed * prepared / 1e9, "GB/s", "assumed"),
        Row("processes reading tars as fast as here", speed * each / rates.tar, "processes", "measured, assumed"),
        Row("cores decoding for a GPU", 2 * speed / rates.decode / plan.gpus, "cores", "measured, assumed"),
        Row("triplets that the cores decode", cores * plan.gpus * rates.decode / 2, "triplets/s", "measured, assumed"),
    ]


def _sending_rows(plan: argparse.Namespace, rates: Rates, speed: Range) -> list[Row]:
    forward, backward = gather_bytes(plan.batch, plan.embedding, plan.gpus)
    gradients = gradient_bytes(rates.parameters, plan.gpus)
    sharded = fsdp_bytes(rates.parameters, rates.gathered, plan.gpus)
    everyone, link = plan.batch * plan.gpus, Range(*plan.link) * 1e9
    step = everyone / speed
    flops = loss_flops(plan.batch, plan.embedding, plan.gpus)
    return [
        Row("steps in an epoch", plan.triplets / everyone, "steps", "counted"),
        Row("loss: sent by a GPU in a step, forward", forward / 1e6, "MB", "counted"),
        Row("loss: sent by a GPU in a step, backward", backward / 1e6, "MB", "counted"),
        Row("gradients: sent by a GPU in a step, DDP", gradients / 1e6, "MB", "counted"),
        Row("FSDP, full sharding, instead of DDP", sharded / 1e6, "MB", "counted"),
        Row(
            "saved by gather_negatives=false",
            100 * (forward + backward) / (forward + backward + gradients),
            "% of DDP's traffic",
            "counted",
        ),
        Row("negatives of a query, gathered", everyone - 1, "images", "counted"),
        Row("negatives of a query, not gathered", plan.batch - 1, "images", "counted"),
        Row("logits of a GPU: own rows, as here", logits_bytes(plan.batch, everyone) / 1e6, "MB", "counted"),
        Row("logits of a GPU: all rows", logits_bytes(everyone, everyone) / 1e6, "MB", "counted"),
        Row("the loss in a GPU's operations", 100 * flops / (flops + plan.batch * rates.flops), "%", "counted"),
        Row("the loss of a step on a core like these", flops / rates.loss, "s", "measured"),
        Row("a step: GPU at work", step, "s", "assumed"),
        Row("a step: sending for the loss", (forward + backward) / link, "s", "assumed"),
        Row("a step: sending gradients, DDP", gradients / link, "s", "assumed"),
    ]


def _keeping_rows(plan: argparse.Namespace, rates: Rates) -> list[Row]:
    whole = checkpoint_bytes(rates.parameters)
    gallery, width = plan.gallery, plan.embedding
    search = search_flops(1000, gallery, width) / rates.product
    return [
        Row("weights, gradients, AdamW on a GPU, DDP", adamw_bytes(rates.parameters) / 1e9, "GB", "counted"),
        Row("the same, FSDP", adamw_bytes(rates.parameters, plan.gpus) / 1e9, "GB", "counted"),
        Row("checkpoint", whole / 1e9, "GB", "counted"),
        Row("checkpoint, a rank's shard of it", checkpoint_bytes(rates.parameters, plan.gpus) / 1e6, "MB", "counted"),
        Row("writing a checkpoint, as fast as here", whole / rates.checkpoint, "s", "measured"),
        Row("index, exact, float16", exact_index_bytes(gallery, width) / 1e9, "GB", "counted"),
        Row("index, exact, float32", exact_index_bytes(gallery, width, FLOAT) / 1e9, "GB", "counted"),
        Row("index, hnsw", hnsw_bytes(gallery, width) / 1e9, "GB", "counted"),
        Row("index, ivf_pq", ivf_pq_bytes(gallery, width) / 1e9, "GB", "counted"),
        Row("exact search of 1,000 queries, a core", search / 60, "min", "measured"),
    ]


def _hour_rows(plan: argparse.Namespace, rates: Rates, speed: Range) -> list[Row]:
    work = plan.epochs * plan.triplets
    decoded = Range(*plan.cores_per_gpu) * plan.gpus * rates.decode / 2
    step = plan.batch * plan.gpus / speed
    sent = sum(gather_bytes(plan.batch, plan.embedding, plan.gpus)) + gradient_bytes(rates.parameters, plan.gpus)
    alone = plan.triplets / (plan.batch * plan.gpus) * (step + sent / (Range(*plan.link) * 1e9))
    rows = [
        Row("hours, if the GPUs decide, sending hidden", work / speed / 3600, "h", "assumed"),
        Row("hours, if the GPUs decide, nothing hidden", plan.epochs * alone / 3600, "h", "assumed"),
        Row("hours, if decoding decides", work / decoded / 3600, "h", "measured, assumed"),
    ]
    if rates.step is not None:
        rows.append(Row("hours, one core like these", work / rates.step / 3600, "h", "measured"))
    return rows


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The plan: its sizes, and what is assumed of GPUs that are not here (three values: low, middle, high)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--triplets", type=float, default=1e8)
    add("--gpus", type=int, default=64)
    add("--batch", type=int, default=256, help="triplets of a GPU in a step")
    add("--embedding", type=int, default=512, help="width of the embeddings")
    add("--epochs", type=float, default=1)
    add("--gallery", type=float, default=1e8, help="images that are searched")
    add("--width", type=int, default=1024, help="pixels of a photo")
    add("--height", type=int, default=768)
    add("--peak", type=float, default=312, help="TFLOP/s of a GPU in bf16; an A100's by its data sheet")
    add("--utilisation", type=float, nargs=3, default=(0.15, 0.3, 0.45), help="share of the peak that is reached")
    add("--link", type=float, nargs=3, default=(10, 20, 40), help="GB/s that a GPU sends; 25 is 200 Gbit/s")
    add("--cores-per-gpu", type=float, nargs=3, default=(8, 12, 16), help="cores that decode")
    add("--folder", default=None, help="where files are written: its disk is measured (default: the system's folder)")
    add("--markdown", action="store_true", help="print the table for docs/scale.md")
    add("--quick", action="store_true", help="tiny measurements, no training step: for the tests")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    """Measures and prints the table."""
    plan = parse(words)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=plan.folder) as folder:
        rates = measure(plan, Path(folder))
    print(f"{date.today()}, {machine_line()}; one thread")
    print(
        f"{plan.triplets:,.0f} triplets of {plan.width} x {plan.height} photos, {plan.epochs:g} epochs,"
        f" {plan.gpus} GPUs, {plan.batch} triplets each; a gallery of {plan.gallery:,.0f}"
    )
    print(
        f"assumed: GPUs of {plan.peak:g} TFLOP/s used to {_listed(plan.utilisation)}, links of"
        f" {_listed(plan.link)} GB/s a GPU, {_listed(plan.cores_per_gpu)} cores a GPU\n"
    )
    lines = [("", "low", "middle", "high", "unit", "basis"), *(row.cells() for row in table(plan, rates))]
    if plan.markdown:
        lines.insert(1, ("---", "--:", "--:", "--:", "---", "---"))
        print("\n".join(f"| {' | '.join(cells)} |" for cells in lines))
        return
    widths = [max(len(cells[column]) for cells in lines) for column in range(6)]
    for cells in lines:
        padded = (
            c.ljust(w) if n in (0, 4, 5) else c.rjust(w) for n, (c, w) in enumerate(zip(cells, widths, strict=True))
        )
        print("  ".join(padded).rstrip())


def _listed(values: tuple[float, ...]) -> str:
    low, middle, high = values
    return f"{low:g} to {high:g} ({middle:g})"


if __name__ == "__main__":
    main()

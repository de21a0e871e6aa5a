"""The rates that the scale formulas are fed with, measured on this machine."""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import tarfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from decoding import SPEC, draw_texture
from diptych.contracts.models import ImageFeatures, TextTokens
from diptych.contracts.retrieval import ContrastiveEmbeddings, Triplet, TripletBatch
from diptych.losses.info_nce import InfoNCE
from diptych.models.composers.cross_attention_composer import CrossAttentionComposer
from diptych.parallel.checkpoints import AtomicCheckpointIO
from diptych.parallel.sharding import blocks, product_weights
from diptych.photos.images import ImageReader
from modification_texts import MODIFICATION_TEXTS
from scale_formulas import FLOAT, Range, as_range, loss_flops
from training import fused_adamw, make_backbone, our_step, pixel_batches

QUALITIES = (95, 90, 75)  # JPEG: the low, middle and high of decoding speed, and the high, middle and low of bytes


@dataclass(frozen=True)
class Rates:
    """What one core of this machine gave, and what was counted of the model."""

    photo: Range  # bytes
    record: Range  # bytes of a triplet in memory, with its group, as dataset and sampler keep them
    decode: Range  # images/s
    tar: Range  # bytes/s
    checkpoint: Range  # bytes/s, synced
    product: Range  # floating point operations/s, float32
    loss: Range  # operations/s that `InfoNCE` reaches, forward and backward
    step: Range | None  # triplets/s of a whole training step, fed from memory; None if not measured
    parameters: int
    gathered: int  # bytes of weights that full sharding gathers in a step
    flops: float  # of a triplet, forward and backward


def measure(plan: argparse.Namespace, folder: Path) -> Rates:
    """Measures every rate; files go to `folder`, whose disk is the one that is measured."""
    repeats, pictures = (2, 2) if plan.quick else (5, 6)
    paths = [_photos(folder, quality, pictures, plan.width, plan.height) for quality in QUALITIES]
    sizes = [sum(path.stat().st_size for path in some) / len(some) for some in paths]
    read = ImageReader(SPEC)
    decoded = [_rate(len(some), repeats, lambda some=some: list(map(read, some))) for some in paths]
    left, right = torch.randn(256, 512), torch.randn(512, 1024 if plan.quick else 16384)
    parameters, gathered, flops = _count()
    return Rates(
        photo=Range(sizes[2], sizes[1], sizes[0]),
        record=as_range(_record_bytes(1000 if plan.quick else 50_000)),
        decode=Range(min(rate.low for rate in decoded), decoded[1].middle, max(rate.high for rate in decoded)),
        tar=_tar_rate(folder, paths[1], repeats, copies=2 if plan.quick else 60),
        checkpoint=_checkpoint_rate(folder, repeats, megabytes=1 if plan.quick else 256),
        product=_rate(2 * left.numel() * right.shape[1], repeats, lambda: left @ right),
        loss=_loss_rate(16 if plan.quick else plan.batch, 4 if plan.quick else plan.gpus, plan.embedding, repeats),
        step=None if plan.quick else _step_rate(repeats),
        parameters=parameters,
        gathered=gathered,
        flops=flops,
    )


def _rate(amount: float, repeats: int, run: Callable[[], object], before: Callable[[], object] | None = None) -> Range:
    """Amount per second of `run`: slowest, median, fastest, after one unmeasured call. Seconds of the processor, so
    that others on the machine count less; where files come and go, which `before` prepares, those of the clock.
    """
    clock = time.perf_counter if before else time.process_time
    seconds = []
    for _ in range(repeats + 1):
        if before:
            before()
        start = clock()
        run()
        seconds.append(clock() - start)
    seconds = seconds[1:]
    return amount / Range(min(seconds), statistics.median(seconds), max(seconds))


def _photos(folder: Path, quality: int, number: int, width: int, height: int) -> list[Path]:
    paths = [folder / f"{quality}-{seed}.jpg" for seed in range(number)]
    for seed, path in enumerate(paths):
        draw_texture(seed).resize((width, height), Image.Resampling.LANCZOS).save(path, quality=quality)
    return paths


def _record_bytes(number: int) -> float:
    tracemalloc.start()
    records, groups = [], []
    for place in range(number):
        text = f"{MODIFICATION_TEXTS[place % len(MODIFICATION_TEXTS)]} {place}"
        names = (f"photo_{place:09d}.jpg", f"photo_{place + number:09d}.jpg")
        records.append((number, Triplet(f"query_{place:09d}", names[0], (text,), names[1])))
        groups.append(("pictures", records[-1][1].query_id))
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return size / number


def _tar_rate(folder: Path, photos: list[Path], repeats: int, copies: int) -> Range:
    """One process reads a tar from end to end; it has to come from the disk, where the system lets go of it."""
    path = folder / "shard.tar"
    with tarfile.open(path, "w") as shard:
        for copy in range(copies):
            for photo in photos:
                shard.add(photo, f"{copy:06d}-{photo.name}")

    def forget() -> None:
        if not hasattr(os, "posix_fadvise"):
            return
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def read() -> None:
        with tarfile.open(path, "r|") as shard:
            for member in shard:
                shard.extractfile(member).read()

    return _rate(path.stat().st_size, repeats, read, before=forget)


def _checkpoint_rate(folder: Path, repeats: int, megabytes: int) -> Range:
    content = {f"layer.{number}": torch.randn(250_000) for number in range(megabytes)}  # a megabyte each
    save = AtomicCheckpointIO().save_checkpoint
    return _rate(megabytes * 1e6, repeats, lambda: save(content, folder / "last.ckpt"), before=gc.collect)


def _loss_rate(batch: int, ranks: int, width: int, repeats: int) -> Range:
    """The loss of `batch` queries among the candidates of all ranks, which one process brings as distractors: the
    direction from query to target has its full size, the other one only the own batch.
    """
    rows = [F.normalize(torch.randn(number, width), dim=1) for number in (batch, batch, batch * (ranks - 1))]
    query, target, others = (row.requires_grad_() for row in rows)
    keys = torch.arange(batch * ranks)
    unread = torch.zeros(batch, 0)  # the loss looks at keys alone
    words = TextTokens(unread.long(), unread.bool())
    items = TripletBatch(tuple("q" * batch), unread, unread, words, keys[:batch], keys[:batch], None, keys[batch:])
    loss = InfoNCE(distractor_negatives=True)

    def run() -> None:
        loss(ContrastiveEmbeddings(query, target, None, others), items)["loss"].backward()

    flops = loss_flops(batch, width, ranks) / 2 + loss_flops(batch, width, 1) / 2
    return _rate(flops, repeats, run)


def _step_rate(repeats: int, batch: int = 8) -> Range:
    model = CrossAttentionComposer(make_backbone())
    bf16 = torch.cpu._is_avx512_bf16_supported()
    step = our_step(model, fused_adamw(model), pixel_batches(model.backbone, batch), bf16)
    return _rate(batch, min(repeats, 3), step)


def gathered_bytes(model: nn.Module) -> int:
    """Bytes of weights that full sharding gathers in a step of bf16-mixed (`diptych.parallel.sharding`): those of
    products in bfloat16, the rest in float32; a block's forward and backward, what lies outside the blocks once.
    """
    rounded = product_weights(model)
    in_blocks = {parameter for block in blocks(model) for parameter in block.parameters()}
    return sum(
        parameter.numel() * (2 if parameter in rounded else FLOAT) * (2 if parameter in in_blocks else 1)
        for parameter in model.parameters()
    )


def _count(batch: int = len(MODIFICATION_TEXTS)) -> tuple[int, int, float]:
    """Of ViT-B/32 with the composer parameters, bytes gathered when it is sharded, and operations a triplet forward and
    backward; nothing is computed.
    """
    with (
        FakeTensorMode(allow_non_fake_inputs=True),
        sdpa_kernel(SDPBackend.MATH),  # others are counted with what they compute again in the backward pass
        FlopCounterMode(display=False) as counter,
    ):
        model = CrossAttentionComposer(make_backbone())
        pixels = torch.zeros(2 * batch, 3, SPEC.size, SPEC.size, dtype=torch.uint8)
        tokens = model.backbone.preprocessing.tokenize(MODIFICATION_TEXTS[:batch])
        images = vars(model.backbone.encode_image(pixels)).items()
        parts = (slice(0, batch), slice(batch, None))
        reference, target = (ImageFeatures(**{name: rows[part] for name, rows in images}) for part in parts)
        query = model.compose(reference, model.backbone.encode_text(tokens))
        (query.sum() + model.embed_image(target).sum()).backward()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return parameters, gathered_bytes(model), counter.get_total_flops() / batch

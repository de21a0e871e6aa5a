"""Peak memory of a large batch in micro-batches (gradient caching) against one micro-batch alone.

`python benchmarks/memory.py [--batch 1024] [--micro-batch 32]`; `--batch 256` is quick, 1,024 takes minutes on a
laptop. ViT-B/32 with random weights, bf16, one whole step, each measured in a process of its own. The large batch's
own pixels (300 kB a triplet) are part of its figure. Both processes give freed memory back at once
(MALLOC_MMAP_THRESHOLD_, glibc): what counts is what is in use, not what the allocator keeps in pieces after 32 rounds.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys

import torch
from torch.optim import AdamW

from diptych.contracts.retrieval import TripletBatch
from diptych.losses.info_nce import InfoNCE
from diptych.models.backbones.clip import CLIPBackbone, CLIPPreprocessing
from diptych.models.composers.cross_attention_composer import CrossAttentionComposer
from modification_texts import MODIFICATION_TEXTS
from side_by_side import machine_line

NAME, TAG, SIZE = "ViT-B-32", "openai", 224
REQUIRED = 1.3


def train_one_step(batch_size: int, micro_batch_size: int) -> None:
    """Forward, loss, backward, optimizer."""
    torch.manual_seed(0)
    model = CrossAttentionComposer(CLIPBackbone(NAME, CLIPPreprocessing(NAME, TAG), TAG))
    optimizer = AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5, fused=True)
    texts = (MODIFICATION_TEXTS * (batch_size // len(MODIFICATION_TEXTS) + 1))[:batch_size]
    shape = (batch_size, 3, SIZE, SIZE)
    batch = TripletBatch(
        query_ids=tuple(str(row) for row in range(batch_size)),
        reference=torch.randint(0, 256, shape, dtype=torch.uint8),
        target=torch.randint(0, 256, shape, dtype=torch.uint8),
        text=model.backbone.preprocessing.tokenize(texts),
        reference_keys=torch.arange(batch_size),
        target_keys=torch.arange(batch_size) + batch_size,
    )
    with torch.autocast("cpu", torch.bfloat16):
        loss = InfoNCE()(model(batch, micro_batch_size), batch)["loss"]
    loss.backward()
    optimizer.step()


def peak_bytes(batch_size: int, micro_batch_size: int) -> int:
    """The most memory that a fresh process had resident while it trained one step."""
    command = [
        sys.executable,
        __file__,
        "--batch",
        str(batch_size),
        "--micro-batch",
        str(micro_batch_size),
        "--measure",
    ]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    return int(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def main() -> None:
    """Prints both peaks and their ratio; with `--measure`, trains one step and prints this process's peak in bytes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--micro-batch", type=int, default=32)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        train_one_step(options.batch, options.micro_batch)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(peak if sys.platform == "darwin" else peak * 1024)  # Linux counts in KiB, macOS in bytes
        return
    print(f"{machine_line()}\n{NAME} at {SIZE} px, bf16, one step, peak resident memory of the process:")
    alone = peak_bytes(options.micro_batch, options.micro_batch)
    print(f"  micro-batch {options.micro_batch} alone: {alone / 2**30:.2f} GiB")
    large = peak_bytes(options.batch, options.micro_batch)
    ratio = large / alone
    verdict = "met" if ratio < REQUIRED else "MISSED"
    print(f"  batch {options.batch} at micro-batch {options.micro_batch}: {large / 2**30:.2f} GiB")
    print(f"  ratio {ratio:.2f}, required under {REQUIRED}: {verdict}")


if __name__ == "__main__":
    main()

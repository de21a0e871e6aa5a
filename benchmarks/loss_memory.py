"""Peak memory of the fuser's loss against plain cross-entropy: forward and backward at 8,192 tokens x 152k vocabulary.

`python benchmarks/loss_memory.py [--tokens 8192] [--vocabulary 151936] [--width 128]`; the plain side needs 14 GiB.
Random hidden states and head in float32, every token labelled, the head frozen as in training. The width is small, so
that logits are what is measured; both sides hold the head, which counts in both. Each side runs in a process of its
own that gives freed memory back at once; what the process holds before the loss is taken off its peak.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.losses.causal_lm import ChunkedCausalLMLoss
from side_by_side import machine_line

REQUIRED = 0.1


def plain(hidden: Tensor, head: nn.Module, labels: Tensor) -> Tensor:
    """What transformers computes: all logits, then cross-entropy."""
    logits = head(hidden)[:, :-1]
    return F.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)


def chunked(hidden: Tensor, head: nn.Module, labels: Tensor) -> Tensor:
    """Ours, with its default chunks."""
    return ChunkedCausalLMLoss()(hidden, head, labels)["loss"]


SIDES = {"plain": plain, "chunked": chunked}


def peak_bytes() -> int:
    """The most memory that this process had resident so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB, macOS in bytes


def run(side: str, tokens: int, vocabulary: int, width: int) -> None:
    """Prints the memory that forward and backward add, their seconds, the loss and the gradient's norm."""
    torch.manual_seed(0)
    head = nn.Linear(width, vocabulary, bias=False).requires_grad_(False)
    hidden = torch.randn(1, tokens, width, requires_grad=True)
    labels = torch.randint(vocabulary, (1, tokens))
    SIDES[side](hidden[:, :4], head, labels[:, :4]).backward()  # the libraries' own memory
    hidden.grad = None
    before, start = peak_bytes(), time.perf_counter()
    loss = SIDES[side](hidden, head, labels)
    loss.backward()
    print(peak_bytes() - before, time.perf_counter() - start, loss.item(), hidden.grad.norm().item())


def main() -> None:
    """Prints both peaks and their ratio; with `--side`, one side's figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--vocabulary", type=int, default=151936)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = (options.tokens, options.vocabulary, options.width)
    if options.side:
        run(options.side, *sizes)
        return
    print(f"{machine_line()}\n{sizes[0]} tokens x {sizes[1]} words, width {sizes[2]}, float32, forward and backward:")
    figures = {}
    for side in SIDES:
        command = [sys.executable, __file__, "--side", side]
        for name, value in zip(("--tokens", "--vocabulary", "--width"), sizes, strict=True):
            command += [name, str(value)]
        environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
        peak, seconds, loss, norm = figures[side] = [float(word) for word in done.stdout.split()]
        print(f"  {side:8} {peak / 2**30:6.2f} GiB, {seconds:.1f} s; loss {loss:.6f}, norm of the gradient {norm:.6e}")
    ratio = figures["chunked"][0] / figures["plain"][0]
    print(f"  ratio {ratio:.3f}, required under {REQUIRED}: {'met' if ratio < REQUIRED else 'MISSED'}")


if __name__ == "__main__":
    main()

"""Ranking 4,000 queries against 20,000 images of width 768: ours, the usual way, and the matrix product alone.

    python benchmarks/evaluation.py [--queries 4000 --gallery 20000 --width 768 --repeats 5]

The usual way is what released evaluation code does: a similarity matrix, a full argsort, and membership checks. Times
are medians of interleaved runs, with the spread. Memory is the peak beyond the embeddings, each in a fresh process.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.ranking.ranking import rank
from side_by_side import interleave, machine_line

KS = (1, 5, 10, 50)
WARM_UP = 64  # queries and images of a small first run: libraries allocate their threads and buffers in it


def embeddings(num_queries: int, num_gallery: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random unit vectors and a random target position for each query."""
    generator = torch.Generator().manual_seed(0)
    queries = normalize(torch.randn(num_queries, width, generator=generator))
    gallery = normalize(torch.randn(num_gallery, width, generator=generator))
    return queries, gallery, torch.randint(num_gallery, (num_queries,), generator=generator)


def ours(queries: Tensor, gallery: Tensor, targets: Tensor) -> list[float]:
    """Recall at every K from exact ranks, with the first 50 results as a by-product."""
    ranking = rank(queries, gallery, k=max(KS), relevant=targets[:, None].tolist())
    ranks = torch.tensor([of_query[0] for of_query in ranking.relevant_ranks])
    return [(ranks <= k).double().mean().item() for k in KS]


def naive(queries: Tensor, gallery: Tensor, targets: Tensor) -> list[float]:
    """Recall at every K from the sorted similarity matrix."""
    order = torch.argsort(queries @ gallery.T, dim=1, descending=True)
    return [(order[:, :k] == targets[:, None]).any(1).double().mean().item() for k in KS]


def product(queries: Tensor, gallery: Tensor, targets: Tensor) -> Tensor:
    """The similarity matrix and nothing else: no exact ranking is faster."""
    return queries @ gallery.T


RIVALS: dict[str, Callable] = {"ours": ours, "naive": naive, "product": product}


def _peak_bytes() -> int:
    """Peak resident memory of this process. Not `ru_maxrss`: that starts with the peak of the process that forked."""
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def report_memory(rival: str, shape: tuple[int, int, int]) -> None:
    """Print by how many bytes the rival raises this process's peak, once the embeddings are there."""
    given = embeddings(*shape)
    RIVALS[rival](*embeddings(WARM_UP, WARM_UP, shape[2]))
    before = _peak_bytes()
    RIVALS[rival](*given)
    print(_peak_bytes() - before)


def measured_memory(rival: str, shape: tuple[int, int, int]) -> int:
    """`report_memory` in a fresh process."""
    command = [sys.executable, __file__, "--memory-of", rival]
    for option, size in zip(("--queries", "--gallery", "--width"), shape, strict=True):
        command += [option, str(size)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Print times, ratios and memory; or, asked for one rival's memory, that alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=4000)
    parser.add_argument("--gallery", type=int, default=20_000)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=sorted(RIVALS), help="leave the others out, for sizes they cannot hold")
    parser.add_argument("--memory-of", choices=sorted(RIVALS), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    shape = (asked.queries, asked.gallery, asked.width)
    if asked.memory_of:
        report_memory(asked.memory_of, shape)
        return
    names = [asked.only] if asked.only else list(RIVALS)
    memory = {name: measured_memory(name, shape) for name in names}
    given = embeddings(*shape)
    if not asked.only and ours(*given) != naive(*given):
        raise SystemExit("ours and naive disagree: the timings would mean nothing")
    times = interleave({name: lambda run=RIVALS[name]: run(*given) for name in names}, asked.repeats)
    print(f"evaluation, {shape[0]} x {shape[1]} at width {shape[2]}; {machine_line()}")
    for name, (median, low, high) in times.items():
        print(f"  {name:8} {median:7.3f} s ({low:.3f} to {high:.3f})   {memory[name] / 2**20:7.0f} MiB")
    if not asked.only:
        print(f"  ours is {times['naive'][0] / times['ours'][0]:.1f} times faster than naive (wanted: 3.5)")
        print(f"  ours takes {times['ours'][0] / times['product'][0]:.2f} times the product alone (wanted: up to 1.3)")
        print(f"  ours needs {memory['ours'] / memory['naive']:.3f} of naive's memory (wanted: under 0.2)")


if __name__ == "__main__":
    main()

"""Fair timings on a shared machine: rivals take turns, and the table tells the spread beside the median."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torchvision


def interleave(rivals: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, tuple[float, float, float]]:
    """Seconds of a call of each rival: (median, fastest, slowest) of `repeats` rounds in which each runs once.

    A slow minute of the machine then hits all of them. Every rival runs once before, unmeasured, and each round
    starts with another one.
    """
    for run in rivals.values():
        run()
    names = list(rivals)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for repeat in range(repeats):
        first = repeat % len(names)
        for name in names[first:] + names[:first]:
            start = time.perf_counter()
            rivals[name]()
            seconds[name].append(time.perf_counter() - start)
    return {name: (statistics.median(times), min(times), max(times)) for name, times in seconds.items()}


def machine_line() -> str:
    """Processor, usable cores, torch's vector instructions, and the versions that decide the speed."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = f"{_processor()}, {cores} cores, {torch.backends.cpu.get_cpu_capability()}"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, torchvision {torchvision.__version__}"
    return f"{machine}; {versions}"


def _processor() -> str:
    """The processor's name, which only Linux's /proc tells in full."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()

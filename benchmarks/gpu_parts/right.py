"""Part 1: what the device computes, against float64 on the CPU."""

from __future__ import annotations

from gpu_parts import right_captions, right_retrieval
from gpu_parts.bench import Report, Setting

NAME, SECONDS = "right", 70


def run(setting: Setting, report: Report) -> None:
    """Retrieval, captions, quantised layers, optimizers, ranking."""
    right_retrieval.run(setting, report)
    right_captions.run(setting, report)

"""What a sweep and the cluster that executes its runs exchange."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a sweep: its folder, which holds its config, and the command that starts or resumes it."""

    folder: Path
    command: tuple[str, ...]


class Cluster(Protocol):
    """Where runs are executed. A config in `conf/cluster/` describes one."""

    at_once: int | None  # runs at a time; None: all of them
    on_this_machine: bool  # whether what listens on this machine's loopback can be reached

    def overrides(self, chosen: Mapping[str, str]) -> list[str]:
        """Words that every run needs here, `trainer.devices=8`; `chosen` are the sweep's, by key.

        Raises:
            ValueError: a chosen one contradicts the cluster.
        """
        ...

    def execute(self, run: Run) -> str | None:
        """Runs it to its end, whatever it is; None, or in words what happened to it, if it could not say itself.

        Called from several threads.
        """
        ...

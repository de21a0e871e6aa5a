"""The table that a sweep ends with."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

log = logging.getLogger(__name__)


class SweepTable(Callback):
    """After a multirun, collects overrides, status and metrics of the runs into `<sweep>/sweep.csv`, and prints it."""

    def __init__(self) -> None:
        self._failures: dict[str, str] = {}

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Notes why a run failed."""
        if job_return.status.name == "FAILED":
            self._failures[str(config.hydra.runtime.output_dir)] = f"{job_return._return_value}".splitlines()[0]

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Writes and prints the table."""
        folder = Path(config.hydra.sweep.dir)
        rows = [
            self._row(run)
            for run in sorted(folder.iterdir(), key=_natural)
            if (run / ".hydra").is_dir() and not run.is_symlink()
        ]
        if not rows:
            return
        columns = list(dict.fromkeys(name for row in rows for name in row))
        with (folder / "sweep.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
        table = Table(title=f"{folder} (all columns: sweep.csv)")
        shown = ["run", "overrides", "status", *[name for name in columns if name in _SHOWN]]
        for name in shown:
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(*(_text(row.get(name, "")) for name in shown))
        Console().print(table)

    def _row(self, run: Path) -> dict[str, Any]:
        overrides = OmegaConf.load(run / ".hydra" / "overrides.yaml")
        row: dict[str, Any] = {"run": run.name, "overrides": " ".join(overrides), "status": "no result"}
        failure = self._failures.get(str(run)) or self._failures.get(str(run.resolve()))
        if failure:
            return row | {"status": f"failed: {failure}"}
        if (run / "metrics.json").is_file():
            record = json.loads((run / "metrics.json").read_text())
            row |= {
                "status": "done",
                "split": record["split"],
                "protocol": record["protocol"]["line"],
                **record["metrics"],
            }
        return row


_SHOWN = ("split", "recall_at_1", "recall_at_5", "recall_at_10", "map_at_5", "average", "median_rank")


def _text(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _natural(run: Path) -> tuple[int, str]:
    return (int(run.name), "") if run.name.isdigit() else (1 << 30, run.name)

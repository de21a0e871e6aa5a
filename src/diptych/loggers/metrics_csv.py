"""Every logged number in one CSV file, appended to during the run, and continued when it is resumed."""

from __future__ import annotations

import csv
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

from diptych.storage.json_values import encodable
from diptych.storage.spreadsheet_cells import harmless_cell
from diptych.storage.whole import remove_unfinished, whole_file


class MetricsCSV(Logger):
    """Writes `folder/metrics.csv`: a row per logged step, `step` first, a column per metric.

    Rows reach the file at once. A new metric adds a column; a resumed run drops the rows after the step it continues
    from, so that the file is that of a run that was never stopped. What a spreadsheet would take for a formula begins
    with an apostrophe.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self._columns: list[str] | None = None
        self._last_row = ""

    @property
    def save_dir(self) -> str:
        """The run's folder: where Lightning's profilers write as well."""
        return str(self.path.parent)

    @property
    def name(self) -> str:
        """The logger's name."""
        return "csv"

    @property
    def version(self) -> str:
        """There is one per folder."""
        return ""

    @property
    @rank_zero_experiment
    def experiment(self) -> MetricsCSV:
        """Itself: rows are added through `log_metrics`."""
        return self

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Appends one row; other values of the same step give another row, the same ones again give none."""
        row = {"step": step, **{harmless_cell(encodable(name)): value for name, value in metrics.items()}}
        if repr(row) == self._last_row:  # the text: NaN is not equal to itself
            return
        self._last_row = repr(row)
        if self._columns is None:
            self._columns = self._read()[0] if self.path.exists() else []
        if set(row) - set(self._columns):
            self._rewrite([*self._columns, *(name for name in row if name not in self._columns)])
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns, restval="").writerow(row)

    @rank_zero_only
    def resume_from(self, step: int) -> None:
        """Drops the rows of later steps: they are about to be written again. `step` counts optimizer steps done."""
        if self.path.exists():
            columns, rows = self._read()
            self._write(columns, [row for row in rows if int(row["step"]) < step])

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing to do: config.yaml lies in the same folder."""

    def _rewrite(self, columns: list[str]) -> None:
        self._write(columns, self._read()[1] if self.path.exists() else [])

    def _read(self) -> tuple[list[str], list[dict[str, str]]]:
        with self.path.open(newline="", encoding="utf-8", errors="replace") as file:
            reader = csv.DictReader(line for line in file if line.endswith("\n"))  # not a row that a kill cut short
            try:
                rows = list(reader)
                columns = list(reader.fieldnames or [])
            except csv.Error as error:
                raise ValueError(f"{self.path}: not the metrics of a run ({error}); move it away") from None
        for number, row in enumerate(rows, start=2):
            if None in row or None in row.values() or not row.get("step", "").isdecimal():
                raise ValueError(f"{self.path}: row {number} is none of the metrics of a run; move the file away")
        harmless = [{harmless_cell(name): harmless_cell(value) for name, value in row.items()} for row in rows]
        return [harmless_cell(name) for name in columns], harmless

    def _write(self, columns: list[str], rows: list[dict[str, str]]) -> None:
        remove_unfinished(self.path.parent, self.path.name, self.path.stem)
        with (
            whole_file(self.path) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
        self._columns = columns

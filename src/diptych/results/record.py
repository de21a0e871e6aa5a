"""What an evaluation found, whatever it evaluated, and how it is left behind and shown: the one place for that.

Retrieval, captions of a checkpoint, and files of either kind fill an `EvaluationRecord`; it writes metrics.json,
predictions.jsonl and scores.jsonl, and makes the table for the screen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from diptych.contracts.retrieval import MetricMeaning
from diptych.parallel import checkpoints
from diptych.results.meanings import stored_meaning
from diptych.results.replaced_settings import replaced_settings
from diptych.results.results_table import results_table, screen
from diptych.storage.json_files import json_lines, write_json
from diptych.storage.line_checksums import LineChecksums

METRICS, PREDICTIONS, SCORES = "metrics.json", "predictions.jsonl", "scores.jsonl"


@dataclass
class EvaluationRecord:
    """The numbers of an evaluation and all that they rest on.

    `origin` gives experiment, data, split, checkpoint, seed and world_size. `metrics` are the numbers by key
    (`[<set>/][<baseline>/]<metric>[/<aspect>]`), NaN where one does not apply; `meanings` say by the metric's plain
    name how they are to be read.

    What the numbers rest on, None where there is no such thing: retrieval's `protocol`, `gallery`, `intervals` and
    `aspect_queries`, the number of queries behind the figures of an aspect (`[<set>/]<aspect>`);
    captions' `references_per_item`, `lines` (of each metric, in words) and `counts` of what was missing, cut or empty;
    of retrieval `counts` has how often the reference comes first. `signatures` say what they give away, in
    sentences; empty where there was nothing to say. `short_lists` are by metric the number of `lists` of a prediction
    file that hold fewer images than its K, and the length of the `shortest`.

    `values` is a line per query for the comparison of two runs: `query_id`, before it `set` where there are several,
    and the query's value of each metric that has one. `predictions` is a line per query with what was found; None where
    it is on the disk already.
    """

    origin: Mapping[str, Any]
    num_scored: int
    num_expected: int
    metrics: dict[str, float]
    meanings: dict[str, MetricMeaning]
    protocol: Mapping[str, Any] | None = None
    gallery: Mapping[str, Any] | None = None
    intervals: Mapping[str, tuple[float, float]] | None = None
    aspect_queries: Mapping[str, int] | None = None
    references_per_item: Sequence[int] | None = None
    lines: Mapping[str, str] | None = None
    counts: Mapping[str, int] | None = None
    values: Sequence[Mapping[str, Any]] = ()
    predictions: Sequence[Mapping[str, Any]] | None = None
    signatures: Sequence[str] | None = None
    short_lists: Mapping[str, Mapping[str, int]] | None = None
    versions: Mapping[str, str] = field(default_factory=checkpoints.versions)

    def content(self) -> dict[str, Any]:
        """The content of metrics.json. A number that does not apply is null, as JSON has no NaN."""
        content = {
            **self.origin,
            "protocol": self.protocol,
            "queries": {"scored": self.num_scored, "expected": self.num_expected},
            "gallery": self.gallery,
            "references_per_item": self.references_per_item and list(self.references_per_item),
            "lines": self.lines,
            "versions": dict(self.versions),
            "metrics": {key: None if math.isnan(value) else value for key, value in self.metrics.items()},
            "short_lists": self.short_lists or None,
            "intervals": None if self.intervals is None else {key: list(two) for key, two in self.intervals.items()},
            "aspect_queries": self.aspect_queries or None,
            "counts": self.counts,
            "signatures": None if self.signatures is None else list(self.signatures),
            "about": {name: stored_meaning(meaning) for name, meaning in self.meanings.items()},
        }
        return {name: value for name, value in content.items() if value is not None or name in self.origin}

    def write(self, folder: Path) -> None:
        """Writes metrics.json and, unless they are there already, predictions.jsonl, into the folder, which is made if
        needed; and scores.jsonl, unless nothing was measured. Each file is written whole or not at all.

        A query's value that is no number is null: the rank of a target that was not found, the precision of a caption
        that names nothing. metrics.json comes last: where it is, the others are.
        """
        if self.predictions is not None:
            lines = map(_plain_line, self.predictions)
            written = json_lines(lines, ascii_only=self.lines is None)  # captions are read
            LineChecksums(folder / PREDICTIONS).replace_lines(written)
        if self.values:
            LineChecksums(folder / SCORES).replace_lines(json_lines(map(_plain_line, self.values), ascii_only=True))
        write_json(folder / METRICS, self.content())

    def table(self) -> Table:
        """The numbers as `evaluate.py` prints them."""
        return results_table(self.content())

    def print(self, folder: Path) -> None:
        """Prints the table, what the metrics rest on where they say so, and where everything lies."""
        console = screen()
        console.print(self.table())
        for sentence in self.signatures or ():
            console.print(sentence, highlight=False)
        for name, before, used in replaced_settings(self.content()):
            console.print(f"replaced: {name}={used} (checkpoint: {before})", highlight=False)
        for name, line in (self.lines or {}).items():
            console.print(f"{name}: {line}", highlight=False)
        for path in [folder / METRICS, *sorted((folder / "report").rglob("index.html"))]:
            console.print(f"  {path}", soft_wrap=True, highlight=False)


def _plain_line(line: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in line.items()
    }

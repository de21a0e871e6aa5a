"""Folders as runs leave them, with made-up numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diptych.storage.run_status import Objective, RunStatus, write_status

COMMON = ("experiment=cir_rooms", "trainer=cpu")


def status(words: Sequence[str] = (), **changes: Any) -> RunStatus:
    """A run that is done: an hour on two processes, judged by `val/recall_at_1`."""
    own = {"state": "done", "step": 100, "seconds": 3600.0, "processes": 2, "device": "cpu", "starts": 1}
    return RunStatus(
        overrides=(*COMMON, *words), **(own | {"objective": Objective("val/recall_at_1", "max", 0.5)} | changes)
    )


def result(
    hits: Sequence[float] = (1, 0), gallery: str = "a" * 64, split: str = "val", **changes: Any
) -> dict[str, Any]:
    """metrics.json of a retrieval: `hits` are the queries' recall_at_1."""
    mean = sum(hits) / len(hits)
    record = {
        "experiment": "cir_rooms",
        "data": ["rooms"],
        "split": split,
        "checkpoint": "best.ckpt",
        "seed": 0,
        "protocol": {"line": "rooms_val v1", "gallery": "all images", "primary_metric": "recall_at_1"},
        "queries": {"scored": len(hits), "expected": len(hits)},
        "gallery": {"size": 10, "sha256": gallery},
        "metrics": {"recall_at_1": mean, "recall_at_5": min(1.0, mean + 0.2), "median_rank": 2.0},
        "intervals": {"recall_at_1": [mean - 0.1, mean + 0.1], "recall_at_5": [None, None]},
    }
    return record | changes


def captions_result(**metrics: float | None) -> dict[str, Any]:
    """metrics.json of captions."""
    return {
        "experiment": "fuser",
        "data": ["newsroom"],
        "split": "val",
        "seed": 0,
        "queries": {"scored": 4, "expected": 4},
        "references_per_item": [1, 1],
        "lines": {"cider": "N=4"},
        "metrics": metrics,
    }


def write_run(
    folder: Path,
    of_run: RunStatus | None = None,
    record: dict[str, Any] | None = None,
    scores: Sequence[dict[str, Any]] = (),
) -> Path:
    """The files that are given."""
    folder.mkdir(parents=True, exist_ok=True)
    if of_run is not None:
        write_status(folder, of_run)
    if record is not None:
        (folder / "metrics.json").write_text(json.dumps(record))
    if scores:
        (folder / "scores.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in scores))
    return folder

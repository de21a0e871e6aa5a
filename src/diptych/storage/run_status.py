"""`status.json` of a run: how far it is, how it ended, what it took, and the value that a search maximises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from diptych.storage.json_files import read_json, write_json

FILE = "status.json"
STATES = ("waiting", "running", "stopped", "done", "failed")


@dataclass(frozen=True, slots=True)
class Objective:
    """The experiment's primary metric: `callbacks.checkpointing.monitor`, its mode (None until the metric has said it),
    and its best value so far.
    """

    metric: str
    mode: str | None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class RunStatus:
    """What a run says of itself.

    `state` is one of `STATES`: `waiting` was prepared by a sweep and has not started, `stopped` ended by a signal with
    a checkpoint and can resume. A run that was killed still says `running`: whoever started it knows better.
    `overrides` are those of the command line that made it. `seconds` is its time over all its starts, evaluation
    included, up to the last note; `processes` and `device` say what it had. `error` is why it failed.
    """

    state: str = "waiting"
    overrides: tuple[str, ...] = ()
    step: int = 0
    seconds: float = 0.0
    processes: int = 1
    device: str = ""
    objective: Objective | None = None
    error: str | None = None
    starts: int = 0

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise ValueError(f"state {self.state!r} of a run is not one of {', '.join(STATES)}")


def read_status(run_dir: Path) -> RunStatus | None:
    """The run's status; None when the folder has none. ValueError, naming the file, when it is no status."""
    path = run_dir / FILE
    try:
        if (record := read_json(path, missing_ok=True)) is None:
            return None
        objective = record.pop("objective", None)
        overrides = tuple(record.pop("overrides", ()))
        found = RunStatus(**record, overrides=overrides, objective=Objective(**objective) if objective else None)
        _check_types(found)
        return found
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: not the status of a run: {error}") from error


def _check_types(status: RunStatus) -> None:
    kinds: list[tuple[str, object, type | tuple[type, ...]]] = [
        *(("overrides", word, str) for word in status.overrides),
        *((name, getattr(status, name), int) for name in ("step", "processes", "starts")),
        ("seconds", status.seconds, (int, float)),
        ("device", status.device, str),
        ("error", status.error, (str, type(None))),
        ("objective", status.objective and status.objective.metric, (str, type(None))),
        ("objective", status.objective and status.objective.mode, (str, type(None))),
        ("objective", status.objective and status.objective.value, (int, float, type(None))),
    ]
    for name, value, kind in kinds:
        if not isinstance(value, kind):
            raise TypeError(f"{name} is a {type(value).__name__}")


def write_status(run_dir: Path, status: RunStatus) -> None:
    """Writes the status, whole or not at all; the folder is made if needed."""
    write_json(run_dir / FILE, asdict(status))


def change_status(run_dir: Path, **changes: Any) -> RunStatus:
    """Writes the status with some fields changed (from an empty one, if there is none), and returns it."""
    status = replace(read_status(run_dir) or RunStatus(), **changes)
    write_status(run_dir, status)
    return status


def same_overrides(status: RunStatus, overrides: Sequence[str]) -> bool:
    """Whether the run was made by these overrides, in any order."""
    return sorted(status.overrides) == sorted(overrides)

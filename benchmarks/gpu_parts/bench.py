"""What the parts of `benchmarks/gpu.py` share: where and how large they run, timings, checks, tables."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

Choice = TypeVar("Choice")
GIB = 2**30
HELD, FAILED, NOT_CHECKED, MISSING = "held", "FAILED", "not checked (rehearsal)", "missing"
LONG_SECONDS, FEW = 1.0, 5  # what takes longer is measured fewer times


class Missing(Exception):
    """Something that this machine or these versions have not: it is reported, and the rest goes on."""


def what_is_missing(error: BaseException) -> str | None:
    """Why something cannot be done here, or None for an error that should not be."""
    if isinstance(error, (Missing, ImportError)):
        return str(error)
    return "out of memory" if isinstance(error, torch.OutOfMemoryError) else None


@dataclass(frozen=True)
class Timing:
    """Milliseconds of a call: median, fastest and slowest; None in a rehearsal, where nothing takes its time."""

    ms: float | None
    fastest: float | None = None
    slowest: float | None = None

    def figures(self) -> dict[str, Any]:
        """The columns of a table."""
        return {"ms": self.ms, "from": self.fastest, "to": self.slowest}

    def rate(self, work: float) -> float | None:
        """So much work in a second."""
        return None if self.ms is None else work / self.ms * 1e3


@dataclass
class Setting:
    """Where and how large the parts run.

    `tiny` takes sizes that a CPU does in seconds; in a `rehearsal` tensors have shapes and no values, and times mean
    nothing. `ceilings` are what the card reaches at best (`part 0`): TFLOP/s and GB/s by name.
    """

    device: torch.device
    tiny: bool
    rehearsal: bool
    out: Path
    ceilings: dict[str, float] = field(default_factory=dict)

    def of(self, full: Choice, tiny: Choice) -> Choice:
        """A size."""
        return tiny if self.tiny else full

    def on_gpu(self) -> bool:
        """Whether a GPU, or the fake one, is computed on."""
        return self.device.type == "cuda"

    def host(self) -> contextlib.AbstractContextManager[Any]:
        """A context for tensors by which the host decides: they have values in a rehearsal, too."""
        if not self.rehearsal:
            return contextlib.nullcontext()
        from torch._subclasses.fake_tensor import unset_fake_temporarily

        return unset_fake_temporarily()

    def needs_values(self, what: str) -> None:
        """Raises Missing in a rehearsal."""
        if self.rehearsal:
            raise Missing(f"{what}: not on the fake GPU")

    def needs_gpu(self, what: str) -> None:
        """Raises Missing where no real GPU is computed on."""
        self.needs_values(what)
        if not self.on_gpu():
            raise Missing(f"{what}: wants a GPU")

    def autocast(self, enabled: bool = True) -> torch.autocast:
        """As Lightning's `bf16-mixed`."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def wait(self) -> None:
        """Until the device has done everything."""
        if self.on_gpu():
            torch.cuda.synchronize(self.device)

    def time(self, step: Callable[[], object], warmups: int = 3, repeats: int = 20) -> Timing:
        """The time of a call, by the device's clock."""
        if self.rehearsal:
            step()
            return Timing(None)
        if self.tiny:
            warmups, repeats = 1, 2
        for _ in range(warmups):
            step()
        first = self._measure(step, 1)
        again = FEW if first[0] > LONG_SECONDS * 1e3 else repeats
        times = first + self._measure(step, min(again, repeats) - 1)
        return Timing(statistics.median(times), min(times), max(times))

    def _measure(self, step: Callable[[], object], repeats: int) -> list[float]:
        if not self.on_gpu():
            return [wall_ms(step) for _ in range(repeats)]
        self.wait()
        pairs = []
        for _ in range(repeats):
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            step()
            end.record()
            pairs.append((start, end))
        self.wait()
        return [start.elapsed_time(end) for start, end in pairs]

    def wall(self, step: Callable[[], object]) -> float | None:
        """Milliseconds of one call by the host's clock, until the device is done; None in a rehearsal."""
        self.wait()

        def all_of_it() -> None:
            step()
            self.wait()

        taken = wall_ms(all_of_it)
        return None if self.rehearsal else taken

    def peak_gib(self, step: Callable[[], object]) -> float | None:
        """The most of the GPU's memory in use during a call; None where that is not known."""
        if self.rehearsal or not self.on_gpu():
            step()
            return None
        self.wait()
        torch.cuda.reset_peak_memory_stats(self.device)
        step()
        self.wait()
        return torch.cuda.max_memory_allocated(self.device) / GIB

    def time_and_peak(self, step: Callable[[], object], **settings: int) -> tuple[Timing, float | None]:
        """Both; a rehearsal runs the step once."""
        timing = self.time(step, **settings)
        return timing, None if self.rehearsal else self.peak_gib(step)

    def share(self, ceiling: str, reached: float | None) -> float | None:
        """Percent of what the card reaches at best."""
        best = self.ceilings.get(ceiling)
        return None if best is None or reached is None else 100 * reached / best


@dataclass(frozen=True)
class Check:
    """A line that must hold."""

    name: str
    status: str
    value: float | None = None
    limit: float | None = None
    why: str = ""

    def line(self) -> str:
        """The line of a report."""
        figures = "" if self.value is None else f" {self.value:.3g}"
        limit = "" if self.limit is None else f" (at most {self.limit:g})"
        return f"{self.status:24}{self.name}{figures}{limit}{f': {self.why}' if self.why else ''}"


class Report:
    """What one part found: rows of a table, lines that must hold, notes, and what was missing."""

    def __init__(self, number: int, name: str, setting: Setting) -> None:
        self.number, self.name, self.setting = number, name, setting
        self.status, self.seconds = "done", 0.0
        self.rows: list[dict[str, Any]] = []
        self.checks: list[Check] = []
        self.notes: list[str] = []
        self.missing: list[str] = []

    def row(self, what: str, **figures: Any) -> None:
        """A row of the table."""
        self.rows.append({"what": what, **figures})

    def timed(self, what: str, timing: Timing, **figures: Any) -> None:
        """A row that begins with a time."""
        self.row(what, **timing.figures(), **figures)

    @contextlib.contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """A context whose end comes early, and is noted, where something is missing."""
        try:
            yield
        except Exception as error:
            why = what_is_missing(error)
            if why is None:
                raise
            self.missing.append(f"{what}: {why}")
        self._free()

    def must(self, name: str, value: Callable[[], float | Tensor], at_most: float) -> None:
        """A line that holds if the value is finite and at most the limit."""
        self._check(name, value, at_most)

    def must_be(self, name: str, holds: Callable[[], bool]) -> None:
        """A line that holds or does not."""
        self._check(name, lambda: 0.0 if holds() else 1.0, None)

    def _check(self, name: str, value: Callable[[], float | Tensor], limit: float | None) -> None:
        try:
            found = float(value())
        except Exception as error:
            why = what_is_missing(error)
            status = FAILED if why is None else MISSING
            self.checks.append(Check(name, status, None, limit, why or f"{type(error).__name__}: {error}"[:300]))
        else:
            if self.setting.rehearsal:
                self.checks.append(Check(name, NOT_CHECKED))
            else:
                status = HELD if found <= (limit or 0.0) else FAILED
                self.checks.append(Check(name, status, None if limit is None else found, limit))
        self._free()

    def _free(self) -> None:
        if self.setting.on_gpu() and not self.setting.rehearsal:
            torch.cuda.empty_cache()

    def failed(self) -> list[str]:
        """The lines that do not hold, and the part itself if it broke off."""
        broken = [f"part {self.number}, {self.name}: {self.status}"] if self.status.startswith("error") else []
        return broken + [f"part {self.number}: {check.line()}" for check in self.checks if check.status == FAILED]

    def text(self) -> str:
        """The part's table, its lines and its notes."""
        lines = [f"\n== {self.number} {self.name}: {self.status}, {self.seconds:.0f} s"]
        lines += table(self.rows)
        lines += [f"  {check.line()}" for check in self.checks]
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  missing: {what}" for what in self.missing]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "part": self.number,
            "name": self.name,
            "status": self.status,
            "seconds": round(self.seconds, 1),
            "rows": self.rows,
            "checks": [vars(check) for check in self.checks],
            "notes": self.notes,
            "missing": self.missing,
        }


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Lines with a column for every name that some row has."""
    if not rows:
        return []
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([shown(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]


def shown(value: Any) -> str:
    """A cell: four digits of a number, `-` for what is not known."""
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def wall_ms(step: Callable[[], object]) -> float:
    """Milliseconds of a call by the host's clock."""
    start = time.perf_counter()
    step()
    return (time.perf_counter() - start) * 1e3


def relative_error(found: Sequence[Tensor], expected: Sequence[Tensor]) -> Tensor:
    """Norm of the difference over the norm of what is expected, of all tensors together, in float64 on the CPU."""
    ours, theirs = (
        torch.cat([part.detach().cpu().double().flatten() for part in parts]) for parts in (found, expected)
    )
    return (ours - theirs).norm() / theirs.norm()


def worst_error(found: Sequence[Tensor], expected: Sequence[Tensor]) -> Tensor:
    """The largest relative error of a tensor: for such of different sizes, as a loss and its gradient."""
    return torch.stack([relative_error([ours], [theirs]) for ours, theirs in zip(found, expected, strict=True)]).max()

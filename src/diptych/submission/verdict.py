"""What a check of a submission file says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found: the broken rules, each with its place, and the rules that could not be checked."""

    violations: tuple[str, ...]
    unchecked: tuple[str, ...] = ()


def describe(path: Path, verdict: Verdict) -> str:
    """The first violations, the rules that were not checked, and the sum, a line each."""
    lines = list(verdict.violations[:_SHOWN])
    hidden = len(verdict.violations) - len(lines)
    if hidden:
        lines.append(f"... and {hidden:,} more")
    lines += verdict.unchecked
    count = len(verdict.violations)
    lines.append(f"{path}: {f'{count:,} violations' if count else 'keeps every rule that was checked'}")
    return "\n".join(lines) + "\n"

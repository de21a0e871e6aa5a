"""`study.json`: the plan, written before the first run and never another one's, and later what came of it."""

from __future__ import annotations

import logging
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diptych.config.plain_config import leaves
from diptych.storage.json_files import read_json, write_json
from diptych.storage.key import key_of
from diptych.studying.hypotheses import Comparison, Verdict
from diptych.studying.plan import Study

if TYPE_CHECKING:
    from diptych.studying.values import Collected  # which imports torch

log = logging.getLogger(__name__)

FILE = "study.json"
_SHAPE = {"plan": dict, "plan_hash": str, "planned_at": str}
_NAMED = 6  # differences that are named


def plan_hash(study: Study) -> str:
    """The SHA-256 of the plan."""
    return key_of(study.record(), length=64)


def fix_plan(folder: Path, study: Study) -> dict[str, Any]:
    """The content of `study.json`, which is written now unless this plan lies there already.

    Raises:
        ValueError: another plan, or something else, lies in the folder; says what differs, and what to do.
    """
    if (found := _read(folder, study)) is not None:
        return found
    content = {
        "plan": study.record(),
        "plan_hash": plan_hash(study),
        "planned_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    write_json(folder / FILE, content, indent=1)
    return content


def check_plan(folder: Path, study: Study) -> None:
    """Raises ValueError where `fix_plan` would; writes nothing."""
    _read(folder, study)


def add_findings(
    folder: Path, content: dict[str, Any], found: Collected, comparisons: list[Comparison], verdicts: list[Verdict]
) -> None:
    """Adds what came of the study; the plan stays as it was written."""
    findings = {
        "not_done": found.lost,
        "measured_unlike": found.unlike(),
        "verdicts": [{**asdict(one.hypothesis), "verdict": one.word, "sentence": one.sentence} for one in verdicts],
        "comparisons": [asdict(one) for one in comparisons],
        "values": found.values,
    }
    write_json(folder / FILE, {**content, **findings}, indent=1)


def _read(folder: Path, study: Study) -> dict[str, Any] | None:
    """The plan that lies in the folder; None where nothing does."""
    elsewhere = "Name another folder, out=DIR; or remove this one, and what was run in it is lost"
    path = folder / FILE
    content = read_json(path, elsewhere, missing_ok=True, shape=_SHAPE)
    if content is None:
        if (folder / "steps").exists():
            raise ValueError(
                f"{folder} holds steps of a study, but not the plan that they were run by ({FILE}). {elsewhere}"
            )
        return None
    found = {name: content[name] for name in _SHAPE}
    if key_of(found["plan"], length=64) != found["plan_hash"]:
        raise ValueError(f"{path}: the plan is not as it was written before the first run. {elsewhere}")
    if found["plan_hash"] != plan_hash(study):
        raise ValueError(
            f"{folder} holds another plan's results: a study is planned before it runs.\n"
            + "\n".join(f"  {line}" for line in differences(found["plan"], study.record()))
            + f"\n{elsewhere}"
        )
    return found


def differences(there: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What two plans differ in, a line each: where, what stands there, what would."""
    before, after = (
        {key: value for key, value in leaves(one) if not isinstance(value, dict | list)} for one in (there, now)
    )
    unlike = [key for key in dict.fromkeys([*before, *after]) if before.get(key) != after.get(key)]
    lines = [f"{key}: {before.get(key, 'nothing')!s} there, {after.get(key, 'nothing')!s} now" for key in unlike]
    more = [f"and {len(lines) - _NAMED} more"] if len(lines) > _NAMED else []
    return [*lines[:_NAMED], *more]

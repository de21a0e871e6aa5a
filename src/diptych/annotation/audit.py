"""How true sentences of change are, where both scenes are known: right, wrong, invented and missed changes.

A scene is what the rooms set's JSON holds under `scene.objects`: each object's attributes, or null where it is absent.
Rates are sums over pairs, and their intervals come from drawing pairs again (percentile bootstrap).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diptych.synthetic.rooms.change_reading import FEWER, MORE, OTHER, Claim, read_claims

Objects = Mapping[str, Mapping[str, Any] | None]

RIGHT, WRONG, HALLUCINATED, UNREAD = "right", "wrong", "hallucinated", "unread"
_WORST_FIRST = (HALLUCINATED, WRONG, RIGHT)
RATES = {
    "sentences_right": ("right_sentences", "sentences"),
    "sentences_wrong": ("wrong_sentences", "sentences"),
    "sentences_hallucinated": ("hallucinated_sentences", "sentences"),
    "sentences_unread": ("unread_sentences", "sentences"),
    "objects_hallucinated": ("hallucinated_objects", "claimed_objects"),
    "objects_wrong": ("wrong_objects", "claimed_objects"),
    "objects_missed": ("missed_objects", "changed_objects"),
    "changes_missed": ("missed_changes", "changes"),
}


@dataclass(frozen=True, slots=True)
class PairAudit:
    """What is true of one pair's sentences.

    `verdicts` has one for each sentence: `hallucinated` where it claims that an object changed which did not, else
    `wrong` where it says anything else that is not so, else `right`; `unread` where no claim could be read. `missed`
    lists the true changes, as (object, attribute), that no sentence states rightly. `counts` are what `RATES` divide.
    """

    verdicts: tuple[str, ...]
    missed: tuple[tuple[str, str], ...]
    counts: Mapping[str, int]


def true_changes(reference: Objects, target: Objects) -> list[tuple[str, str]]:
    """Everything that differs, as (object, attribute); `presence` where an object is only on one side."""
    changes = []
    for name in {**reference, **target}:
        old, new = reference.get(name), target.get(name)
        if old is None or new is None:
            changes += [(name, "presence")] if old is not new else []
        else:
            changes += [(name, attribute) for attribute in {**old, **new} if old.get(attribute) != new.get(attribute)]
    return changes


def judge(claim: Claim, reference: Objects, target: Objects) -> tuple[str, set[tuple[str, str]]]:
    """`right`, `wrong` or `hallucinated`, and the true changes that a right claim states."""
    old, new = reference.get(claim.object), target.get(claim.object)
    if old == new:
        return HALLUCINATED, set()
    if old is None or new is None:
        there = new if old is None else old
        stated, verbs = (claim.after, ("add", "state")) if old is None else (claim.before, ("remove",))
        right = claim.verb in verbs and all(there is not None and there.get(k) == v for k, v in stated.items())
        return (RIGHT, {(claim.object, "presence")}) if right else (WRONG, set())
    before, after = dict(claim.before), dict(claim.after)
    if not _fits_count(claim, before, after, old, new):
        return WRONG, set()
    if any(old.get(name) != value for name, value in before.items()):
        return WRONG, set()
    if any(new.get(name) != value and value != OTHER for name, value in after.items()):
        return WRONG, set()
    changed = {(claim.object, name) for name in {**old, **new} if old.get(name) != new.get(name)}
    stated_names = {*claim.before, *claim.after}
    stated_changes = {change for change in changed if change[1] in stated_names}
    if stated_names:
        return (RIGHT, stated_changes) if stated_changes else (WRONG, set())
    vague = claim.verb in ("change", "state")  # `change the rug`: so it is, but no change is stated
    return (RIGHT, set()) if vague else (WRONG, set())


def _fits_count(
    claim: Claim, before: dict[str, Any], after: dict[str, Any], old: Mapping[str, Any], new: Mapping[str, Any]
) -> bool:
    """Whether adding, removing, more and fewer fit the numbers; what they say is taken out of `before` and `after`."""
    if claim.verb not in ("add", "remove") and after.get("count") not in (MORE, FEWER):
        return True
    difference = (new.get("count") or 0) - (old.get("count") or 0)
    if claim.verb == "remove":
        number = before.pop("count", None)
        return difference < 0 and number in (-difference, FEWER)
    number = after.pop("count", None)
    if number == FEWER:
        return difference < 0
    return difference > 0 and number in (difference, new.get("count"), MORE, None)


def audit_pair(sentences: Sequence[str], reference: Objects, target: Objects) -> PairAudit:
    """Compares the sentences of a pair with its scenes."""
    changes = true_changes(reference, target)
    changed = {name for name, _ in changes}
    verdicts, stated = [], set()
    outcomes: dict[str, list[str]] = {}
    for sentence in sentences:
        found = []
        for claim in read_claims(sentence):
            verdict, covered = judge(claim, reference, target)
            found.append(verdict)
            stated |= covered
            outcomes.setdefault(claim.object, []).append(verdict)
        verdicts.append(next((verdict for verdict in _WORST_FIRST if verdict in found), UNREAD))
    missed = tuple(change for change in changes if change not in stated)
    counts = {f"{verdict}_sentences": verdicts.count(verdict) for verdict in (*_WORST_FIRST, UNREAD)}
    counts |= {
        "sentences": len(sentences),
        "claimed_objects": len(outcomes),
        "hallucinated_objects": sum(HALLUCINATED in found for found in outcomes.values()),
        "wrong_objects": sum(WRONG in found for found in outcomes.values()),
        "changed_objects": len(changed),
        "missed_objects": len(changed - outcomes.keys()),
        "changes": len(changes),
        "missed_changes": len(missed),
    }
    return PairAudit(tuple(verdicts), missed, counts)


def summarise(
    counts: Sequence[Mapping[str, int]], num_resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, dict[str, Any]]:
    """Each of `RATES` over all pairs: `{"rate", "interval": [low, high], "of": the number that it is a share of}`.

    `counts` are those of the pairs. Equal arguments give equal intervals. A rate of nothing is None, without interval.
    """
    names = sorted({name for pair in RATES.values() for name in pair})
    table = np.array([[pair[name] for name in names] for pair in counts], dtype=np.float64).reshape(-1, len(names))
    sums = dict(zip(names, table.sum(0).tolist(), strict=True))
    rng = np.random.default_rng(seed)
    drawn = [table[rng.integers(len(counts), size=len(counts))].sum(0) for _ in range(num_resamples if counts else 0)]
    resampled = np.array(drawn).reshape(-1, len(names))
    summary: dict[str, dict[str, Any]] = {}
    for rate, (part, whole) in RATES.items():
        entry: dict[str, Any] = {"rate": None, "interval": None, "of": int(sums[whole])}
        if sums[whole]:
            entry["rate"] = sums[part] / sums[whole]
            parts, wholes = resampled[:, names.index(part)], resampled[:, names.index(whole)]
            shares = parts[wholes > 0] / wholes[wholes > 0]
            entry["interval"] = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2]).tolist()
        summary[rate] = entry
    return summary


def audit_table(summaries: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Rates in percent with their intervals, a column for each way that the sentences were made."""
    header = ["in percent", *summaries]
    rows = [header]
    for rate in RATES:
        rows.append([rate.replace("_", " "), *(_cell(summary[rate]) for summary in summaries.values())])
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in rows)
    )


def _cell(entry: Mapping[str, Any]) -> str:
    if entry["rate"] is None:
        return "none"
    low, high = entry["interval"]
    return f"{100 * entry['rate']:.1f} [{100 * low:.1f}, {100 * high:.1f}] of {entry['of']:,}"

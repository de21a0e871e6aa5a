"""How true sentences of change are, where both scenes are known: right, wrong, invented and missed changes.

A scene is what the rooms set's JSON holds under `scene.objects`: each object's attributes, or null where it is absent.
What a rate is a share of, and which kinds of change there are, is said here; `rates` makes them of counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diptych.annotation.rates import rate_cell, rates_of, text_table
from diptych.synthetic.rooms.change_reading import FEWER, MORE, OTHER, Claim, read_claims

Objects = Mapping[str, Mapping[str, Any] | None]

RIGHT, WRONG, HALLUCINATED, UNREAD = "right", "wrong", "hallucinated", "unread"
_WORST_FIRST = (HALLUCINATED, WRONG, RIGHT)
RATES = {
    "sentences_right": ("right_sentences", "sentences"),
    "sentences_wrong": ("wrong_sentences", "sentences"),
    "sentences_hallucinated": ("hallucinated_sentences", "sentences"),
    "sentences_unread": ("unread_sentences", "sentences"),
    "claims_wrong": ("wrong_claims", "claims"),
    "claims_hallucinated": ("hallucinated_claims", "claims"),
    "objects_hallucinated": ("hallucinated_objects", "claimed_objects"),
    "objects_wrong": ("wrong_objects", "claimed_objects"),
    "objects_missed": ("missed_objects", "changed_objects"),
    "changes_missed": ("missed_changes", "changes"),
}
# By kind of change. A claim is of every kind that it says changed; without any it is `unstated` ("change the rug").
PRESENCE, UNSTATED = "presence", "unstated"
KINDS = ("colour", "pattern", "place", "size", "count", PRESENCE, UNSTATED)
KIND_RATES = {
    "claims_right": ("right_claims", "claims"),
    "claims_wrong": ("wrong_claims", "claims"),
    "claims_hallucinated": ("hallucinated_claims", "claims"),
    "changes_missed": ("missed_changes", "changes"),
}
NO_COUNTS = dict.fromkeys(sorted({name for pair in KIND_RATES.values() for name in pair}), 0)


@dataclass(frozen=True, slots=True)
class PairAudit:
    """What is true of one pair's sentences.

    `verdicts` has one for each sentence: `hallucinated` where it claims that an object changed which did not, else
    `wrong` where it says anything else that is not so, else `right`; `unread` where no claim could be read. `missed`
    lists the true changes, as (object, attribute), that no sentence states rightly. `counts` are what `RATES` divide;
    what several sentences say of one object's colour is one claim there, as bad as the worst of them. `kinds` are the
    same of `KIND_RATES` by kind of change, those kinds that occur, and of every claim.
    """

    verdicts: tuple[str, ...]
    missed: tuple[tuple[str, str], ...]
    counts: Mapping[str, int]
    kinds: Mapping[str, Mapping[str, int]]


def true_changes(reference: Objects, target: Objects) -> list[tuple[str, str]]:
    """Everything that differs, as (object, attribute); `presence` where an object is only on one side."""
    changes = []
    for name in {**reference, **target}:
        old, new = reference.get(name), target.get(name)
        if old is None or new is None:
            changes += [(name, PRESENCE)] if old is not new else []
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
        return (RIGHT, {(claim.object, PRESENCE)}) if right else (WRONG, set())
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


def claimed_kinds(claim: Claim, reference: Objects, target: Objects) -> tuple[str, ...]:
    """The kinds of change that a claim is about, each one of `KINDS`: the attributes that it says the object gets. What
    is added or removed is about presence, or about the number of what is counted and in both scenes; so is a statement
    (`have a blue rug`) about what is in one of the scenes only, or in none.
    """
    old, new = reference.get(claim.object), target.get(claim.object)
    if claim.verb in ("add", "remove"):
        counted = old is not None and new is not None and "count" in old
        return ("count",) if counted else (PRESENCE,)
    if claim.verb == "state" and (old is None or new is None):
        return (PRESENCE,)
    return tuple(name for name in KINDS if name in claim.after) or (UNSTATED,)


def audit_pair(sentences: Sequence[str], reference: Objects, target: Objects) -> PairAudit:
    """Compares the sentences of a pair with its scenes."""
    changes = true_changes(reference, target)
    changed = {name for name, _ in changes}
    verdicts, stated = [], set()
    outcomes: dict[str, list[str]] = {}
    claims: dict[tuple[str, str], list[str]] = {}
    kinds: dict[str, dict[str, int]] = {}
    for sentence in sentences:
        found = []
        for claim in read_claims(sentence):
            verdict, covered = judge(claim, reference, target)
            found.append(verdict)
            for kind in claimed_kinds(claim, reference, target):
                of_kind = kinds.setdefault(kind, dict(NO_COUNTS))
                of_kind["claims"] += 1
                of_kind[f"{verdict}_claims"] += 1
                claims.setdefault((claim.object, kind), []).append(verdict)
            stated |= covered
            outcomes.setdefault(claim.object, []).append(verdict)
        verdicts.append(_worst(found) or UNREAD)
    missed = tuple(change for change in changes if change not in stated)
    for change in changes:
        of_kind = kinds.setdefault(change[1], dict(NO_COUNTS))
        of_kind["changes"] += 1
        of_kind["missed_changes"] += change not in stated
    counts = {f"{verdict}_sentences": verdicts.count(verdict) for verdict in (*_WORST_FIRST, UNREAD)}
    worst = [_worst(found) for found in claims.values()]
    counts |= {f"{verdict}_claims": worst.count(verdict) for verdict in _WORST_FIRST}
    counts |= {
        "sentences": len(sentences),
        "claims": len(claims),
        "claimed_objects": len(outcomes),
        "hallucinated_objects": sum(HALLUCINATED in found for found in outcomes.values()),
        "wrong_objects": sum(WRONG in found for found in outcomes.values()),
        "changed_objects": len(changed),
        "missed_objects": len(changed - outcomes.keys()),
        "changes": len(changes),
        "missed_changes": len(missed),
    }
    return PairAudit(tuple(verdicts), missed, counts, kinds)


def _worst(verdicts: Sequence[str]) -> str | None:
    return next((verdict for verdict in _WORST_FIRST if verdict in verdicts), None)


def num_objects(reference: Objects, target: Objects) -> int:
    """How many objects a pair shows: those that are in either scene."""
    return sum(reference.get(name) is not None or target.get(name) is not None for name in {**reference, **target})


def summarise(counts: Sequence[Mapping[str, int]]) -> dict[str, dict[str, Any]]:
    """Each of `RATES` over all pairs, as `rates_of` gives them. `counts` are those of the pairs."""
    return rates_of(counts, RATES)


def audit_table(
    summaries: Mapping[str, Mapping[str, Mapping[str, Any]]], planted: Mapping[str, float] | None = None
) -> str:
    """Rates in percent with their intervals, a column for each way that the sentences were made; above them what was
    `planted`, the rates at which an imitated annotator was made to err.
    """
    rows = [["in percent", *summaries]]
    for rate in RATES:
        rows.append([rate.replace("_", " "), *(rate_cell(summary[rate]) for summary in summaries.values())])
    return "\n".join([*([planted_line(planted)] if planted else []), text_table(rows)])


def planted_line(planted: Mapping[str, float]) -> str:
    """What was put into the sentences, and is therefore no finding."""
    rates = ", ".join(f"{name.replace('_', ' ')} {rate:g}" for name, rate in planted.items())
    return f"planted by the server that wrote the sentences: {rates}"

"""Where sentences of change are untrue: by kind of change, by number of objects, and by how much two images differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from diptych.annotation.audit import KIND_RATES, KINDS, NO_COUNTS, RATES
from diptych.annotation.rates import Rates, rate_cell, rates_of, text_table

Record = Mapping[str, Any]

_BY_KIND, _BY_OBJECTS, _BY_CHANGES = "by_kind", "by_objects", "by_changes"
HEADINGS = {_BY_KIND: "", _BY_OBJECTS: "objects in the pair: ", _BY_CHANGES: "true changes: "}
_SHOWN = {
    _BY_KIND: ("claims_hallucinated", "claims_wrong", "changes_missed"),
    _BY_OBJECTS: ("sentences_hallucinated", "sentences_wrong", "changes_missed"),
    _BY_CHANGES: ("sentences_hallucinated", "sentences_wrong", "changes_missed"),
}


def breakdowns(records: Sequence[Record], ways: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`by_kind`, `by_objects` and `by_changes`: by group the number of its `pairs`, and by way its rates with their
    intervals. `records` are those of AuditTriplets.

    A kind's are `KIND_RATES`: of the claims that are about this kind of change, and of the true changes of this kind;
    its pairs are those that have either. Fewer changes mean a more similar pair.
    """
    kinds = {kind: [r for r in records if any(kind in r["ways"][way]["kinds"] for way in ways)] for kind in KINDS}

    def of_kind(kind: str) -> Callable[[Record, str], Mapping[str, int]]:
        return lambda record, way: record["ways"][way]["kinds"].get(kind, NO_COUNTS)

    def of_pair(record: Record, way: str) -> Mapping[str, int]:
        counts: Mapping[str, int] = record["ways"][way]["counts"]
        return counts

    by_kind = {kind: _group(of, ways, of_kind(kind), KIND_RATES) for kind, of in kinds.items() if of}
    by_number = {}
    for name, number_of in ((_BY_OBJECTS, lambda r: r["objects"]), (_BY_CHANGES, lambda r: len(r["changes"]))):
        groups: dict[int, list[Record]] = {}
        for record in records:
            groups.setdefault(number_of(record), []).append(record)
        by_number[name] = {str(number): _group(groups[number], ways, of_pair, RATES) for number in sorted(groups)}
    return {_BY_KIND: by_kind, **by_number}


def _group(
    records: Sequence[Record], ways: Sequence[str], counts: Callable[[Record, str], Mapping[str, int]], rates: Rates
) -> dict[str, Any]:
    rates_by_way = {way: rates_of([counts(record, way) for record in records], rates) for way in ways}
    return {"pairs": len(records), "ways": rates_by_way}


def breakdown_rows(parts: Mapping[str, Any], name: str) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """The breakdown `name` of `breakdowns` as rows: a heading, and the rate of each way."""
    for group, found in parts[name].items():
        for rate in _SHOWN[name]:
            heading = f"{HEADINGS[name]}{group} ({found['pairs']:,} pairs), {rate.replace('_', ' ')}"
            yield heading, [summary[rate] for summary in found["ways"].values()]


def breakdown_table(parts: Mapping[str, Any]) -> str:
    """All of them in percent with their intervals, a column for each way."""
    groups = [group for name in HEADINGS for group in parts[name].values()]
    if not groups:
        return "none"
    rows = [["in percent", *groups[0]["ways"]]]
    for name in HEADINGS:
        rows += [[heading, *map(rate_cell, entries)] for heading, entries in breakdown_rows(parts, name)]
    return text_table(rows)

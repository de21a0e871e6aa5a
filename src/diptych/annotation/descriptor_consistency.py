"""Whether descriptions keep their words where nothing changed: of two rooms whose scenes are known.

Stage 2 of the annotation describes the target in the words of stage 1 where things are the same, so that whatever
differs between the two lists is a change. Where an unchanged object gets other words, the third stage sees a change
that there is not; where a changed one keeps all its words, it cannot see it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from diptych.annotation.audit import Objects
from diptych.annotation.descriptions import read_descriptions
from diptych.annotation.rates import rate_cell, rates_of, text_table
from diptych.storage.json_values import json_value
from diptych.synthetic.rooms.change_reading import object_named

Described = Iterable[Mapping[str, Any]]  # objects of a description: `name` and `descriptors`

DESCRIPTOR_RATES = {
    "unchanged_descriptors_repeated": ("repeated_descriptors", "descriptors"),
    "unchanged_objects_alike": ("alike_objects", "twice_described"),
    "unchanged_objects_left_out": ("left_out_objects", "unchanged_objects"),
    "changed_objects_alike": ("changed_alike", "changed_objects"),
}
_WRITER = "write_modifications"  # the stage that descriptions lie beside


class PairDescriptions:
    """The descriptions of both images of pairs, from the records of DescribeReference and DescribeTarget."""

    def __init__(self, references: Path, targets: Path) -> None:
        self.files = references, targets
        self._texts: tuple[dict[str, str], dict[str, str]] | None = None

    def counts(self, pair_id: str, reference_image: str, before: Objects, after: Objects) -> dict[str, int] | None:
        """`descriptor_counts` of a pair with these scenes; None where one of its images was not described.

        Raises:
            ValueError: a line of the files is no record.
        """
        if self._texts is None:
            self._texts = read_descriptions(self.files[0], "image"), read_descriptions(self.files[1], "pair_id")
        texts = self._texts[0].get(reference_image), self._texts[1].get(pair_id)
        if texts[0] is None or texts[1] is None:
            return None
        reference, target = (json_value(text)["objects"] for text in texts if text is not None)
        return descriptor_counts(reference, target, before, after)


def descriptions_beside(sentences: Path) -> PairDescriptions | None:
    """The descriptions that the sentences in `<work>/write_modifications/records.jsonl` were written from; None of ways
    of annotating that have none.
    """
    files = [sentences.parent.parent / stage / sentences.name for stage in ("describe_reference", "describe_target")]
    beside = sentences.parent.name.startswith(_WRITER) and all(path.exists() for path in files)
    return PairDescriptions(*files) if beside else None


def descriptor_counts(reference: Described, target: Described, before: Objects, after: Objects) -> dict[str, int]:
    """What `DESCRIPTOR_RATES` divide, of one pair. Objects are those of the scenes that the reference's description
    names; a descriptor is repeated where the target's description has it for the same object, word for word whatever
    the case. `alike` are objects with equal sets of descriptors.
    """
    said, again = _by_object(reference), _by_object(target)
    counts = dict.fromkeys(sorted({name for rate in DESCRIPTOR_RATES.values() for name in rate}), 0)
    for name, descriptors in said.items():
        old, new = before.get(name), after.get(name)
        if old is None or new is None:  # named where there is none, or gone: nothing to keep the words of
            continue
        kept = again.get(name)
        if old != new:
            counts["changed_objects"] += kept is not None
            counts["changed_alike"] += kept == descriptors
            continue
        counts["unchanged_objects"] += 1
        counts["left_out_objects"] += kept is None
        if kept is not None:
            counts["twice_described"] += 1
            counts["alike_objects"] += kept == descriptors
            counts["descriptors"] += len(descriptors)
            counts["repeated_descriptors"] += len(descriptors & kept)
    return counts


def descriptor_summaries(records: Iterable[Mapping[str, Any]], ways: Iterable[str]) -> dict[str, Any]:
    """By way the number of `pairs` that have both descriptions, and their `rates`, each of `DESCRIPTOR_RATES` as
    `rates_of` gives it. `records` are those of AuditTriplets.
    """
    counts: dict[str, list[Mapping[str, int]]] = {name: [] for name in ways}
    for record in records:
        for name, of_way in counts.items():
            if record["ways"][name].get("descriptors") is not None:
                of_way.append(record["ways"][name]["descriptors"])
    return {name: {"pairs": len(found), "rates": rates_of(found, DESCRIPTOR_RATES)} for name, found in counts.items()}


def descriptor_rows(summaries: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """A row for each rate: its name, and the rate of each way."""
    ways = [summary["rates"] for summary in summaries.values()]
    return [(rate.replace("_", " "), [way[rate] for way in ways]) for rate in DESCRIPTOR_RATES]


def descriptor_table(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """Rates in percent with their intervals, a column for each way that has descriptions."""
    rows = [[heading, *map(rate_cell, entries)] for heading, entries in descriptor_rows(summaries)]
    return text_table([["in percent", *summaries], *rows])


def _by_object(described: Described) -> dict[str, set[str]]:
    """The descriptors by the object of the scene that they are about; several names may be of one (`left pillow`)."""
    found: dict[str, set[str]] = {}
    for item in described:
        name = object_named(item["name"])
        if name is not None:
            found.setdefault(name, set()).update(descriptor.casefold() for descriptor in item["descriptors"])
    return found

"""How true the annotations of generated rooms are, whose scenes are known: one way of annotating beside another."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from diptych.annotation.audit import RATES, audit_pair, audit_table, num_objects, summarise, true_changes
from diptych.annotation.audit_breakdown import breakdown_table, breakdowns
from diptych.annotation.descriptor_consistency import (
    PairDescriptions,
    descriptions_beside,
    descriptor_summaries,
    descriptor_table,
)
from diptych.annotation.rates import difference_table, differences_of
from diptych.contracts.pipelines import Failure, Result
from diptych.data.pairs.image_pairs import ImagePair, read_pairs
from diptych.photos.image_urls import is_remote
from diptych.stages.running.record_stage import RecordStage
from diptych.storage.json_files import read_json, write_json
from diptych.storage.record_log import RecordFile, RecordLog

log = logging.getLogger(__name__)

AUDIT = "audit.json"


class AuditTriplets(RecordStage):
    """Compares the sentences that each of `ways` has written with the scenes of the pair's images.

    `ways` are the files of records (`{"pair_id", "sentences"}`) by name, for example three_stage and one_stage. The
    scene of `images/X.jpg` is `scenes/X.json`, as the rooms set has them. Records are
    `{"pair_id", "changes": [[object, attribute]], "objects": how many the pair shows, "ways": {name: {"sentences",
    "verdicts", "missed", "counts", "kinds"}}}`. `audit.json` holds the rates of each way over the pairs that all of
    them have sentences for, with 95 % intervals; how those of the others differ from the first's; and the rates by kind
    of change, by number of objects and by number of changes.

    Of a way whose sentences lie in `<work>/write_modifications`, with the descriptions that they were written from
    beside it, `audit.json` also says under `descriptors` whether these keep their words for objects that did not change
    (`annotation/descriptor_consistency.py`).

    `planted` are the rates at which an imitated annotator was made to err, where one wrote the sentences: they stand in
    `audit.json`, since a rate that was put in is no finding.

    A pair fails as `no_scene`, `different_hotels` (nothing says which objects are the same), or `no_sentences` in any
    of the ways; with `silence`, a way that has no sentences for a pair says nothing about it, and misses all its
    changes. Annotators that may keep silent are compared so: the pairs about which one of them is sure are the easy
    ones.
    """

    record_key = "pair_id"
    runtime_settings = ("pairs", "ways")

    def __init__(
        self,
        pairs: str | Path,
        ways: Mapping[str, str | Path],
        images_root: str | Path | None = None,
        planted: Mapping[str, float] | None = None,
        silence: bool = False,
    ) -> None:
        if not ways:
            raise ValueError("ways is empty: name at least one file of sentences, as three_stage=.../records.jsonl")
        self.pairs, self.images_root = Path(pairs), images_root
        self.ways = {name: Path(path) for name, path in ways.items()}
        self.planted, self.silence = dict(planted or {}), silence

    def input_files(self) -> Sequence[Path]:
        """Pairs and sentences, and the descriptions that there are."""
        described = [path for found in self._descriptions.values() for path in found.files]
        return [self.pairs, *self.ways.values(), *described]

    @cached_property
    def _descriptions(self) -> dict[str, PairDescriptions]:
        """By way; without those that have none."""
        found = {name: descriptions_beside(path) for name, path in self.ways.items()}
        return {name: descriptions for name, descriptions in found.items() if descriptions is not None}

    @cached_property
    def _pairs(self) -> dict[str, ImagePair]:
        return {pair.pair_id: pair for pair in read_pairs(self.pairs, self.images_root).pairs}

    def ids(self) -> Sequence[str]:
        """All pairs, in file order."""
        return list(self._pairs)

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """The audit of each pair."""
        sentences = {
            name: RecordLog(path, self.record_key).read({"sentences": [str]}) for name, path in self.ways.items()
        }
        for pair_id in ids:
            absent = [name for name, records in sentences.items() if pair_id not in records]
            if absent and not self.silence:
                message = f"{', '.join(str(self.ways[name]) for name in absent)}: no sentences for the pair"
                yield Failure(pair_id, "no_sentences", message)
                continue
            pair = self._pairs[pair_id]
            try:
                reference, target = _scene(pair.reference_image), _scene(pair.target_image)
            except ValueError as error:
                yield Failure(pair_id, "no_scene", str(error))
                continue
            if reference["style"] != target["style"]:
                yield Failure(pair_id, "different_hotels", "the two rooms are of different hotels")
                continue
            before, after = reference["objects"], target["objects"]
            ways = {}
            for name, records in sentences.items():
                written = records[pair_id]["sentences"] if pair_id in records else []
                audit = audit_pair(written, before, after)
                ways[name] = {
                    "sentences": written,
                    "verdicts": list(audit.verdicts),
                    "missed": [list(change) for change in audit.missed],
                    "counts": dict(audit.counts),
                    "kinds": {kind: dict(counts) for kind, counts in audit.kinds.items()},
                }
                if name in self._descriptions:
                    described = self._descriptions[name].counts(pair_id, pair.reference_image, before, after)
                    ways[name]["descriptors"] = described
            changes = [list(change) for change in true_changes(before, after)]
            yield {"pair_id": pair_id, "changes": changes, "objects": num_objects(before, after), "ways": ways}

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """`audit.json`, and its tables in the log.

        Raises:
            ValueError: an earlier version began the folder.
        """
        records = list(RecordFile(folder, self.record_key).records().values())
        if any(_of_earlier_version(record) for record in records):
            raise ValueError(
                f"{folder} was begun by an earlier version, whose records say less: remove it and give the command "
                "again; an audit asks no model"
            )
        counts = {name: [record["ways"][name]["counts"] for record in records] for name in self.ways}
        summaries = {name: summarise(of_way) for name, of_way in counts.items()}
        first, *others = self.ways
        differences = {name: differences_of(counts[first], counts[name], RATES) for name in others}
        parts = breakdowns(records, list(self.ways))
        described = descriptor_summaries(records, self._descriptions)
        descriptors = {"descriptors": described} if described else {}
        planted = {"planted": self.planted} if self.planted else {}
        content = {"pairs": len(records), "not_audited": len(failures), **planted, "ways": summaries}
        content |= {"differences": {"from": first, "ways": differences}, **parts, **descriptors}
        write_json(folder / AUDIT, content, indent=1)
        log.info("true of %d pairs (95 %% intervals):\n%s", len(records), audit_table(summaries, self.planted))
        if others:
            log.info("paired differences:\n%s", difference_table(first, differences, list(RATES)))
        log.info("by kind of change, number of objects, and number of changes:\n%s", breakdown_table(parts))
        if described:
            log.info("descriptions of objects, changed and unchanged:\n%s", descriptor_table(described))


def _of_earlier_version(record: Mapping[str, Any]) -> bool:
    """Whether a record says less than this version's."""
    return "objects" not in record or any("claims" not in way["counts"] for way in record["ways"].values())


def _scene(image: str) -> Mapping[str, Any]:
    """The scene of a room's picture."""
    path = Path(image)
    places = [place for place, part in enumerate(path.parts) if part == "images"]
    if is_remote(image) or not places:
        raise ValueError(f"{image} is no file of a rooms set; only of these are the scenes known")
    parts = [*path.parts[: places[-1]], "scenes", *path.parts[places[-1] + 1 :]]
    scene = Path(*parts).with_suffix(".json")
    content = read_json(scene, "generate the set again")
    try:
        return {key: content["scene"][key] for key in ("objects", "style")}
    except (KeyError, TypeError) as error:
        raise ValueError(f"{scene} is no scene of the rooms set ({error!r}); generate the set again") from None

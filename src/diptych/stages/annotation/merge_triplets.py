"""Several sets of triplets as one: look-alikes of all rounds of annotation meet in a batch, and are one image each."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from diptych.contracts.pipelines import Failure, Result
from diptych.contracts.retrieval import Triplet
from diptych.data.triplets.triplet_jsonl import TripletJSONL
from diptych.stages.annotation.export_triplets import IMAGES, SUMMARY, link_image
from diptych.stages.running.record_stage import RecordStage
from diptych.storage.json_files import write_json, write_json_lines
from diptych.storage.record_log import RecordFile

log = logging.getLogger(__name__)

TRIPLETS = "train.jsonl"


class MergeTriplets(RecordStage):
    """The training triplets of `folders` that the annotation has exported, in their order, as such a folder `out`:
    `train.jsonl`, `images/`, whose names say what is in them, and `summary.json`.

    A text that an earlier triplet of the same reference has with another target tells the two apart no more, and is
    left out; a triplet without another text fails as `ambiguous`.

    Raises:
        ValueError: there are no folders.
    """

    runtime_settings = ("folders", "out")

    def __init__(self, folders: Sequence[str | Path], out: str | Path) -> None:
        if not folders:
            raise ValueError("folders is empty: name at least one folder of triplets")
        self.sets, self.out = [TripletJSONL(folder, name="triplets") for folder in folders], Path(out)

    def input_files(self) -> Sequence[Path]:
        """Their files of triplets."""
        return [one.root / TRIPLETS for one in self.sets]

    def output_files(self) -> Sequence[Path]:
        """The triplets and the summary."""
        return [self.out / TRIPLETS, self.out / SUMMARY]

    @cached_property
    def _triplets(self) -> dict[str, tuple[TripletJSONL, Triplet]]:
        found: dict[str, tuple[TripletJSONL, Triplet]] = {}
        for one in self.sets:
            for triplet in one.triplets("train"):
                if triplet.query_id in found:
                    first = found[triplet.query_id][0].root
                    raise ValueError(f"{one.root} and {first} both have a triplet {triplet.query_id!r}; rename one")
                found[triplet.query_id] = one, triplet
        return found

    def ids(self) -> Sequence[str]:
        """All triplets; ValueError where two have one id."""
        return list(self._triplets)

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """The line of each triplet."""
        wanted = set(ids)
        targets: dict[tuple[str, str], str] = {}  # of the first triplet with this reference and text
        for query_id, (_, triplet) in self._triplets.items():
            texts = []
            for text in triplet.modification_texts:
                if targets.setdefault((triplet.reference_image, text), triplet.target_image) == triplet.target_image:
                    texts.append(text)
            if query_id not in wanted:
                continue
            if not texts:
                yield Failure(query_id, "ambiguous", "an earlier triplet has reference and text, and another target")
                continue
            line = {"query_id": query_id, "reference_image": triplet.reference_image, "modification_texts": texts}
            yield {**line, "target_image": triplet.target_image, **({"group": triplet.group} if triplet.group else {})}

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """Links the images, then writes triplets and summary."""
        records = list(RecordFile(folder, self.record_key).records().values())
        (self.out / IMAGES).mkdir(parents=True, exist_ok=True)
        for record in records:
            source, _ = self._triplets[record["query_id"]]
            for name in _images(record):
                place = self.out / name
                place.parent.mkdir(parents=True, exist_ok=True)
                link_image(source.image_path("train", name), place, named_by_content=name.startswith(f"{IMAGES}/"))
        write_json_lines(self.out / TRIPLETS, records)
        texts = sum(len(record["modification_texts"]) for record in records)
        images = len({name for record in records for name in _images(record)})
        counts = {"triplets": len(records), "texts": texts, "images": images, "ambiguous": len(failures)}
        write_json(self.out / SUMMARY, counts, indent=1)
        log.info("%s: %s", self.out / TRIPLETS, counts)


def _images(record: Mapping[str, Any]) -> tuple[str, str]:
    return record["reference_image"], record["target_image"]

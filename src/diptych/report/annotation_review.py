"""A page on which people accept and reject what was annotated: one HTML file, without network or framework.

    python -m diptych.report.annotation_review my_triplets --pairs pairs.json

Decisions are kept in the browser as they are made. Its button saves them as `reviews.jsonl`; put the file into the
folder, and `reviews=my_triplets/reviews.jsonl` of the pipeline leaves out what was rejected. A page made after that
shows them again.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from diptych.annotation.reviews import Reviews, read_reviews
from diptych.config.arguments import run
from diptych.data.pairs.image_pairs import ImagePair, read_pairs
from diptych.photos.image_urls import is_remote
from diptych.report.pictures import REVIEWED_SIZE, Thumbnails
from diptych.report.rendering import write_page
from diptych.stages.annotation.ask_stage import AskStage
from diptych.stages.annotation.describe_reference import DescribeReference
from diptych.stages.annotation.describe_target import DescribeTarget
from diptych.stages.annotation.one_stage import OneStage
from diptych.stages.annotation.verify_sentences import VerifySentences
from diptych.stages.annotation.write_modifications import WriteModifications
from diptych.storage.key import key_of
from diptych.storage.record_log import RecordLog

log = logging.getLogger(__name__)

PAGE, REVIEWS = "review.html", "reviews.jsonl"
_STAGES = (DescribeReference, DescribeTarget, WriteModifications, OneStage, VerifySentences)


@dataclass(frozen=True, slots=True)
class ReviewedObject:
    """An object of a description; `alone` where the other description has no such object. Its descriptors each with
    whether they are alone: the other description has the object, but does not say this of it.
    """

    name: str
    alone: bool
    descriptors: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class ReviewedPair:
    """What the page shows of a pair; its sentences each with the verdict of a second model, None without one."""

    pair_id: str
    reference_image: str
    target_image: str
    before: list[ReviewedObject]
    after: list[ReviewedObject]
    sentences: list[tuple[str, bool | None]]


def write_review(
    out: Path, pairs_file: Path, images_root: Path | None = None, first: int = 1, number: int = 200
) -> Path:
    """Writes `out/review.html` about the pairs that have sentences, and returns its path.

    The stages' records are looked for in `out/work`: descriptions and verdicts of a second model are shown where there
    are any. Decisions in `out/reviews.jsonl` are shown as made. About 60 KB a pair for photographs.

    Args:
        out: The folder that annotate_triplets wrote.
        pairs_file: The pairs that were annotated.
        images_root: Where relative paths begin; None: beside the file.
        first: The first pair of the page, 1-based, among those with sentences.
        number: How many pairs it shows at most.

    Raises:
        ValueError: no pair has sentences from `first` on, or a file is damaged; names it.
    """
    records = {stage.name: _records(out, stage) for stage in _STAGES}
    sentences = records[WriteModifications.name] or records[OneStage.name]
    annotated = [pair for pair in read_pairs(pairs_file, images_root).pairs if pair.pair_id in sentences]
    shown = annotated[first - 1 : first - 1 + number]
    if not shown:
        raise ValueError(
            f"{out / 'work'} has sentences for {len(annotated)} pairs of {pairs_file}, none from {first} on"
        )
    reviews = read_reviews(out / REVIEWS) if (out / REVIEWS).exists() else Reviews({})
    lead = f"Pairs {first:,} to {first - 1 + len(shown):,} of {len(annotated):,}. Decisions stay in this browser; the"
    lead += f" button saves them as {REVIEWS}. Put it into {out.name}, and the export leaves out what is rejected."
    content = [[pair.pair_id, sentences[pair.pair_id]["sentences"]] for pair in shown]
    pictures = Thumbnails(REVIEWED_SIZE)
    path = out / PAGE
    write_page(
        path,
        "review.html.jinja",
        title="Review of annotated pairs",
        lead=lead,
        key="diptych-review-" + key_of(content),
        pairs=_reviewed(shown, records, sentences),
        decisions=reviews.decisions,
        others=_decided_elsewhere(reviews, {pair.pair_id: sentences[pair.pair_id]["sentences"] for pair in shown}),
        picture=lambda image: None if is_remote(image) else pictures.data_uri(Path(image)),
        name_of=lambda image: image if is_remote(image) else Path(image).name,
    )
    if pictures.unreadable:
        log.warning("%d pictures cannot be read, first %s", len(pictures.unreadable), pictures.unreadable[0])
    return path


def _records(out: Path, stage: type[AskStage]) -> dict[str, dict[str, Any]]:
    return RecordLog(out / "work" / stage.name / "records.jsonl", stage.record_key).read()


def _reviewed(
    pairs: Sequence[ImagePair], records: Mapping[str, Mapping[str, Any]], sentences: Mapping[str, Mapping[str, Any]]
) -> list[ReviewedPair]:
    verdicts = {(r["pair_id"], r["sentence"]): r["holds"] for r in records[VerifySentences.name].values()}
    reviewed = []
    for pair in pairs:
        before = records[DescribeReference.name].get(pair.reference_image, {}).get("objects", [])
        after = records[DescribeTarget.name].get(pair.pair_id, {}).get("objects", [])
        written = [(text, verdicts.get((pair.pair_id, text))) for text in sentences[pair.pair_id]["sentences"]]
        compared = compare_objects(before, after), compare_objects(after, before)
        reviewed.append(ReviewedPair(pair.pair_id, pair.reference_image, pair.target_image, *compared, written))
    return reviewed


def compare_objects(own: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> list[ReviewedObject]:
    """The objects of one description, with what the other one has not; upper and lower case of names are the same."""
    there = {item["name"].casefold(): set(item["descriptors"]) for item in other}
    compared = []
    for item in own:
        same = there.get(item["name"].casefold())
        descriptors = tuple((text, same is not None and text not in same) for text in item["descriptors"])
        compared.append(ReviewedObject(item["name"], same is None, descriptors))
    return compared


def _decided_elsewhere(reviews: Reviews, shown: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """The decisions on pairs and sentences that the page does not show: they are saved with its own."""
    return [
        {"pair_id": pair_id, "sentence": sentence, "accepted": accepted}
        for (pair_id, sentence), accepted in reviews.decisions.items()
        if pair_id not in shown or not (sentence is None or sentence in shown[pair_id])
    ]


def review(
    out: Annotated[Path, "the folder that annotate_triplets wrote"],
    /,
    *,
    pairs: Annotated[Path, "the pairs that were annotated"],
    images_root: Annotated[Path | None, "where relative paths begin"] = None,
    first: Annotated[int, "first pair of the page"] = 1,
    number: Annotated[int, "pairs on the page"] = 200,
) -> None:
    """A page on which annotated pairs are accepted and rejected; prints its path."""
    sys.stdout.write(f"{write_review(out, pairs, images_root, first, number)}\n")


if __name__ == "__main__":
    sys.exit(run(review, "python -m diptych.report.annotation_review", sys.argv[1:]))

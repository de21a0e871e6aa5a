"""Writes the pairs of images of a triplet dataset, for a model to describe anew what changes between them.

    python -m diptych.pairs data=cirr split=train out=pairs.jsonl
    python -m diptych.pipeline pipeline=annotate_triplets pairs=pairs.jsonl out=FOLDER model=NAME dry_run=true

A line has the keys that the annotation reads (docs/annotation.md), and for tracing a pair back `source` and
`query_ids`, every record of the dataset that names its two images.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from diptych.commands.triplet_sources import triplet_sources
from diptych.data.pairs.triplet_pairs import TripletPairs, pairs_of
from diptych.data.triplets.presence import absent_files
from diptych.data.triplets.triplet_jsonl import TripletJSONL
from diptych.storage.json_files import write_json_lines

log = logging.getLogger(__name__)


def write_pairs(
    config: DictConfig,
    split: str,
    out: Path,
    images_root: Path | None = None,
    aspects: Sequence[str] = (),
    num_pairs: int | None = None,
    without: Path | None = None,
) -> str:
    """Writes the pairs of a config's data, of those sources that train on (or, of other splits, are evaluated on), or
    `num_pairs` of them, drawn by the config's seed; returns what was written, in words. Warns of what is no pair of its
    own, and of images that are not there.

    With `aspects` (`changes_2`: docs/rooms.md) pairs are written whose query has one of them, and no others. Pairs that
    the folder of triplets `without` has texts for, under their ids, are left out.

    Raises:
        ValueError: the data holds no triplets, or none of the split or of the aspects, or fewer than `num_pairs` pairs;
            or an image lies outside `images_root`.
    """
    if out.suffix != ".jsonl":
        raise ValueError(f"out={out} must end in .jsonl: a pair a line is written")
    sources = triplet_sources(config, split)
    found = pairs_of(sources, split, aspects)
    asked = f" of the aspects {', '.join(aspects)}" if aspects else ""
    if not found.pairs:
        raise ValueError(f"{split} of {', '.join(sources)} has no two different images that could be a pair{asked}")
    if without is not None:
        known = {triplet.query_id for triplet in TripletJSONL(without, name="triplets").triplets("train")}
        found = replace(found, pairs=tuple(pair for pair in found.pairs if pair.pair_id not in known))
    if num_pairs is not None:
        found = _drawn(found, num_pairs, config.seed)
    folder = (images_root or out.parent).resolve()
    lines = [pair.line(folder) for pair in found.pairs]
    outside = [line["pair_id"] for line in lines if Path(line["reference_image"]).is_absolute()]
    if images_root is not None and outside:
        raise ValueError(f"images_root={images_root} does not hold the images of {len(outside)} pairs, as {outside[0]}")
    _warn(found)
    write_json_lines(out, lines)
    return (
        f"{out}: {len(lines):,} pairs of {len(found.images):,} images, from {found.num_records:,} records of"
        f" {', '.join(f'{name}/{split}' for name in sources)}"
    )


def _drawn(found: TripletPairs, number: int, seed: int) -> TripletPairs:
    if not 1 <= number <= len(found.pairs):
        raise ValueError(f"num_pairs={number}: there are {len(found.pairs):,} pairs to draw from")
    places = sorted(random.Random(seed).sample(range(len(found.pairs)), number))
    return replace(found, pairs=tuple(found.pairs[place] for place in places))


def _warn(found: TripletPairs) -> None:
    for what, ids in (("name the images of an earlier one", found.repeated), ("change nothing", found.unchanged)):
        if ids:
            log.warning("%d records %s and are no pair of their own, first %s", len(ids), what, ids[0])
    absent = list(absent_files({str(path): path for path in found.images}).values())
    if absent:
        log.warning(
            "%d of %d images are not there, first: %s; their pairs cannot be annotated before they are",
            len(absent),
            len(found.images),
            absent[0],
        )

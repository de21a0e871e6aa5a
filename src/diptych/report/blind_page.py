"""A page on which people judge two annotations of the same pairs without knowing which is which.

    diptych blind page pairs=pairs.jsonl out=blind 'ways=[three_stage=A/records.jsonl,one_stage=B/records.jsonl]'

Pairs come in random order, and either way's text is on the left or on the right; which, says a file beside the page
that the people who judge do not get. Their marks stay in the browser, and the page saves them to a file for each of
them; `diptych blind rates` reads those files with the key.
"""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from diptych.annotation.blind_marks import SIDES
from diptych.data.pairs.image_pairs import ImagePair, read_pairs
from diptych.photos.image_urls import is_remote
from diptych.report.pictures import REVIEWED_SIZE, Thumbnails
from diptych.report.rendering import write_page
from diptych.storage.json_files import write_json
from diptych.storage.key import key_of
from diptych.storage.record_log import RecordLog

log = logging.getLogger(__name__)

PAGE, KEY = "blind.html", "blind_key.json"


def write_blind_page(
    pairs_file: Path,
    ways: Mapping[str, Path],
    out: Path,
    images_root: Path | None = None,
    number: int = 50,
    seed: int = 0,
) -> tuple[Path, Path]:
    """Writes `out/blind.html` about `number` pairs (all where there are fewer) that both of `ways` (files of records
    `{"pair_id", "sentences"}`) have sentences for, drawn by the seed, and `out/blind_key.json`. Returns both paths.

    Neither the ways' names nor their files stand in the page. Each way is A in half of the pairs, drawn at random.
    The same arguments give the same bytes.

    Raises:
        ValueError: there are not two ways, no pair has sentences of both, or a file is damaged.
    """
    if len(ways) != 2 or number < 1:
        raise ValueError(f"a page compares two ways on some pairs, not {len(ways)} on {number}; write ways=[A=..,B=..]")
    written = {name: RecordLog(path, "pair_id").read({"sentences": [str]}) for name, path in ways.items()}
    annotated = read_pairs(pairs_file, images_root).pairs
    common = [pair for pair in annotated if _can_be_judged(pair, written)]
    if not common:
        raise ValueError(
            f"no pair of {pairs_file} has local images and sentences of both ways,"
            f" {' and '.join(map(str, ways.values()))}"
        )
    if len(common) < len(annotated):
        number_out = len(annotated) - len(common)
        log.warning("%d of %d pairs lack a local image or sentences of a way: left out", number_out, len(annotated))
    rng = random.Random(seed)
    drawn = rng.sample(common, min(number, len(common)))
    swapped = [place % 2 == 0 for place in range(len(drawn))]
    rng.shuffle(swapped)
    names = list(ways)
    key = [
        _key_of_pair(pair, names[::-1] if turned else names, written)
        for pair, turned in zip(drawn, swapped, strict=True)
    ]
    page = key_of([[entry["pair_id"], entry["sentences"]] for entry in key])
    pictures = Thumbnails(REVIEWED_SIZE)
    write_page(
        out / PAGE,
        "blind.html.jinja",
        title="Which text says what has changed?",
        lead=f"{len(drawn):,} pairs of images. Both texts say how to get from the reference image to the target image.",
        page=page,
        pairs=[_shown(pair, entry) for pair, entry in zip(drawn, key, strict=True)],
        picture=lambda image: pictures.data_uri(Path(image)),
    )
    if pictures.unreadable:
        log.warning("%d pictures cannot be read, first %s", len(pictures.unreadable), pictures.unreadable[0])
    ways_as_given = {name: str(path) for name, path in ways.items()}
    write_json(out / KEY, {"page": page, "seed": seed, "ways": ways_as_given, "pairs": key}, indent=1, ascii_only=False)
    return out / PAGE, out / KEY


def _can_be_judged(pair: ImagePair, written: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether there is something of both ways to judge, and two pictures to judge it by."""
    remote = is_remote(pair.reference_image) or is_remote(pair.target_image)
    return not remote and all(of.get(pair.pair_id, {}).get("sentences") for of in written.values())


def _key_of_pair(pair: ImagePair, names: Sequence[str], written: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    sides = dict(zip(SIDES, names, strict=True))
    sentences = {side: written[name][pair.pair_id]["sentences"] for side, name in sides.items()}
    return {"pair_id": pair.pair_id, "ways": sides, "sentences": sentences}


def _shown(pair: ImagePair, entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "reference_image": pair.reference_image,
        "target_image": pair.target_image,
        "sides": entry["sentences"],
    }


def page(
    *,
    pairs: Annotated[Path, "the pairs that were annotated"],
    ways: Annotated[list[str], "two files of sentences by name, [three_stage=FILE,one_stage=FILE]"],
    out: Annotated[Path, "the folder to write the page and its key to"],
    images_root: Annotated[Path | None, "where relative paths begin"] = None,
    number: Annotated[int, "pairs on the page"] = 50,
    seed: Annotated[int, "of the pairs, their order, and the sides"] = 0,
) -> None:
    """A page on which people judge two annotations blindly, and the key to it, which they must not see; prints both
    paths. Give the page to two people at least.
    """
    named = dict(part.partition("=")[::2] for part in ways)
    if len(named) != len(ways) or not all(name and file for name, file in named.items()):
        raise ValueError(f"ways=[{','.join(ways)}]: write two files by name, [three_stage=FILE,one_stage=FILE]")
    paths = write_blind_page(pairs, {n: Path(file) for n, file in named.items()}, out, images_root, number, seed)
    sys.stdout.write("".join(f"{path}\n" for path in paths))

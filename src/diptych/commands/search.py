"""What `diptych search` does: a folder of pictures indexed once, and searched with a picture, a text, or both."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from diptych.api.retriever import load_retriever
from diptych.api.searching import index_place, own_ids, ways
from diptych.contracts.search import SearchResult
from diptych.report.search_report import SHEET, write_search
from diptych.text.printable import printable

log = logging.getLogger(__name__)


def search_pictures(
    checkpoint: Path,
    images: Path | None,
    index: Path | None,
    image: Path | None,
    text: str,
    k: int,
    out: Path | None,
    on_missing: Literal["error", "drop"],
    device: str | None,
) -> None:
    """Indexes `images` (what is in the index already, and did not change, is not embedded again), or takes the index;
    then prints the `k` best by the query and writes them to `out`, if it is given. Without a query it only indexes.

    Raises:
        ValueError: as `load_retriever`, `Retriever.index` and `Retriever.search`.
    """
    retriever = load_retriever(checkpoint, device)
    if images is not None:
        place = index or index_place(images, checkpoint)
        retriever.index(images, on_missing=on_missing, keep=place)
        log.info("%d images are in the index %s", len(retriever), place)
    else:
        assert index is not None
        retriever.load(index)
    if image is None and not text:
        return
    own = own_ids(retriever, image)
    found = ways(retriever, image, text, own)
    searched = f"{len(retriever):,} images" + (f" of {images}" if images is not None else f" in {index}")
    facts = {"searched": searched, "model": str(retriever.checkpoint)}
    if own:
        facts["left out"] = f"{', '.join(own)}: the picture itself"
    sys.stdout.write(printable(table(found, k, facts)))
    if out is not None:
        first = {way: results[:k] for way, results in found.items()}
        page = write_search(out, first, image, text, facts)
        sys.stdout.write(printable(f"the page: {page}, the same as one picture: {page.parent / SHEET}\n"))


def table(found: Mapping[str, Sequence[SearchResult]], k: int, facts: Mapping[str, str]) -> str:
    """The `k` best in lines, with their places by each half of the query alone."""
    (way, results), *halves = found.items()
    places = {half: {each.image_id: place for place, each in enumerate(those, 1)} for half, those in halves}
    columns = ["place", f"score by {way}", *(f"place by {half} alone" for half in places), "image"]
    rows = [
        [str(place), f"{each.score:.4f}", *(str(places[half][each.image_id]) for half in places), each.image_id]
        for place, each in enumerate(results[:k], 1)
    ]
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    lines = ["  ".join([*map(str.rjust, row[:-1], widths), row[-1]]) for row in [columns, *rows]]
    return "\n".join([*(f"{name}: {said}" for name, said in facts.items()), *lines, ""])

"""What a search found, as a page and as one picture: the results of the whole query, then of each half of it alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from diptych.contracts.search import SearchResult
from diptych.report.cards import QueryCard, Tile
from diptych.report.pictures import Thumbnails
from diptych.report.rendering import write_page
from diptych.report.sheet import NUM_RESULTS, draw_rows, save_sheet

PAGE, SHEET = "search.html", "search.jpg"


def write_search(
    folder: Path, found: Mapping[str, Sequence[SearchResult]], image: Path | None, text: str, facts: Mapping[str, str]
) -> Path:
    """Writes `search.html`, which needs no other file and no network, and `search.jpg`, into `folder`; returns the
    page's path. Pictures that cannot be read are grey tiles.

    `found` has the results, best first, by what was compared (`picture and text`); the first of them is the search, the
    others are shown beside it. `facts` are what the page says of the search.
    """
    folder.mkdir(parents=True, exist_ok=True)
    thumbnails = Thumbnails()
    cards = {way: _card(way, results, image, text) for way, results in found.items()}
    write_page(
        folder / PAGE,
        "search.html.jinja",
        title="Search",
        lead=", ".join([f"{text!r}"] * bool(text) + [f"{image}"] * (image is not None)),
        cards=cards,
        facts=list(facts.items()),
        picture=thumbnails.data_uri,
    )
    rows = [(f"by {way}" + (" alone" if number else ""), [card]) for number, (way, card) in enumerate(cards.items())]
    shown = min(NUM_RESULTS, max(map(len, found.values())))
    lead = f"the first {shown} of {facts['searched']}"
    frames = {"reference": "the picture asked with"} if image is not None else {}
    save_sheet(draw_rows("Search", lead, rows, frames, thumbnails), folder / SHEET)
    return folder / PAGE


def _card(way: str, results: Sequence[SearchResult], image: Path | None, text: str) -> QueryCard:
    """What was asked and found, as one query of a report."""
    with_picture, with_text = "picture" in way, "text" in way
    path = image if with_picture else None
    tiles = [Tile(each.image_id, each.path, "other", place, each.score) for place, each in enumerate(results, start=1)]
    reference = Tile("no picture" if path is None else path.name, path, "reference")
    return QueryCard(way, text if with_text else "", (), None, None, reference, tuple(tiles), None, note="")

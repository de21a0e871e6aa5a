"""What a retrieval report knows of every query, for the page's script: texts, ranks, results, and where pictures lie.

Pictures are embedded while there is room for them; of the others the page has links, which the browser follows when a
picture comes into sight.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from diptych.report.cards import Pair, QueryCard, build_card
from diptych.report.rendering import with_visible_controls
from diptych.results.results_table import aspect_label


class QueryTable:
    """All queries of a report in file order, with their first `num_results` results, and the images that they name,
    each once. `image_path` gives an image's file, or None.
    """

    def __init__(self, pairs: Sequence[Pair], image_path: Callable[[str], Path | None], num_results: int) -> None:
        self._numbers: dict[str, int] = {}
        self._paths: list[Path | None] = []
        self._aspects: dict[str, int] = {}
        self._find = image_path
        self.positions = {query.query_id: position for position, (_, query) in enumerate(pairs)}
        self._queries = [self._row(build_card(pair, lambda _: None, num_results), pair) for pair in pairs]

    def content(self, folder: Path, pictures: Mapping[int, str]) -> dict[str, Any]:
        """What the page's script reads, for a page in `folder`; `pictures` are the embedded ones by image.

        A query is a list: id, text, rank of the target (null: not in the list), its rank in the group (null: no group),
        aspects, reference, target (null: hidden), accepted answers, results, scores. Aspects and images are numbers,
        which `aspects` and `images` resolve; an image is its id and its link, which begins in `folder` (null: no file).
        """
        # Links are followed by the browser, not here: what lies behind one may lie elsewhere tomorrow.
        paths = [None if path is None else Path(os.path.normpath(path.absolute())) for path in self._paths]
        parents = {str(path.parent) for path in paths if path is not None}
        base = os.path.commonpath(parents) if parents else ""
        return {
            "folder": _link(base, os.path.normpath(folder.absolute())) + "/" if parents else "",
            "images": [
                [with_visible_controls(image_id), None if path is None else _link(path, base)]
                for image_id, path in zip(self._numbers, paths, strict=True)
            ],
            "pictures": pictures,
            "aspects": [with_visible_controls(aspect_label(aspect)) for aspect in self._aspects],
            "queries": self._queries,
        }

    def pictures(
        self, query_ids: Iterable[str], shown: Iterable[str], embed: Callable[[Path], str | None], room: int
    ) -> dict[int, str]:
        """Addresses of embedded pictures by image, of the queries in the order given, until `room` characters are used;
        those of the queries in `shown`, which stand on the page, are not among them.
        """
        there = {image for query_id in shown for image in self._images(query_id)}
        found: dict[int, str] = {}
        for image in dict.fromkeys(image for query_id in query_ids for image in self._images(query_id)):
            path = self._paths[image]
            if image in there or path is None or (address := embed(path)) is None:
                continue
            room -= len(address)
            if room < 0:
                break
            found[image] = address
        return found

    def _images(self, query_id: str) -> list[int]:
        row = self._queries[self.positions[query_id]]
        return [image for image in (row[5], row[6], *row[8]) if image is not None]

    def _row(self, card: QueryCard, pair: Pair) -> list[Any]:
        others = [name for name in pair[1].relevant_ids if name != pair[1].target_image]
        return [
            with_visible_controls(card.query_id),
            with_visible_controls(card.text),
            card.rank,
            card.subset_rank,
            [self._aspects.setdefault(aspect, len(self._aspects)) for aspect in card.aspects],
            self._number(card.reference.image_id),
            None if card.target is None else self._number(card.target.image_id),
            list(map(self._number, others)),
            [self._number(tile.image_id) for tile in card.results],
            [_rounded(tile.score) for tile in card.results],
        ]

    def _number(self, image_id: str) -> int:
        if image_id not in self._numbers:
            self._numbers[image_id] = len(self._paths)
            self._paths.append(self._find(image_id))
        return self._numbers[image_id]


def _link(path: str | Path, start: str) -> str:
    return quote(os.path.relpath(path, start), errors="replace")


def _rounded(score: float | None) -> float | None:
    """To the decimals that are shown; None for what is no number in JSON."""
    return None if score is None or not math.isfinite(score) else round(score, 3)

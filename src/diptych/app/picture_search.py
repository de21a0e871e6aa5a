"""What a page of search asks of models: the images that can be chosen, and what each model finds for a round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from diptych.api.retriever import Retriever
from diptych.api.searching import own_ids, ways
from diptych.app.session import Round
from diptych.contracts.retrieval import GalleryImage
from diptych.contracts.search import SearchResult

NUM_RESULTS = 10
NUM_SHOWN = 24  # images of the gallery at once


@dataclass(frozen=True, slots=True)
class Found:
    """What one model, `model`, found for a round: the best by `way`, then those by each half of the query alone.

    `halves` is empty where the query has one half, or the model cannot tell, which `notes` then says. `places` has, by
    half, the place of each of the `results` among all images.
    """

    model: str
    way: str
    results: tuple[SearchResult, ...]
    halves: Mapping[str, tuple[SearchResult, ...]]
    places: Mapping[str, Mapping[str, int]]
    notes: tuple[str, ...]


class PictureSearch:
    """Searches the images that all `retrievers`, by the name that they are shown under, have indexed."""

    def __init__(self, retrievers: Mapping[str, Retriever]) -> None:
        self._retrievers = dict(retrievers)
        first = next(iter(self._retrievers.values()))
        self._images = {image.image_id: image for image in first.images}

    def __len__(self) -> int:
        return len(self._images)

    def image(self, image_id: str) -> GalleryImage:
        """The image of this id.

        Raises:
            ValueError: there is none: the page that asks may be older than the program.
        """
        if image_id not in self._images:
            raise ValueError("This image is not in the folder any more: load the page again.")
        return self._images[image_id]

    def gallery(self, part: str, page: int) -> tuple[Sequence[GalleryImage], int]:
        """The images whose id has `part` in it, in whatever case, `NUM_SHOWN` of them (pages begin again behind the
        last one); and how many there are in all.
        """
        found = [image for image in self._images.values() if part.strip().lower() in image.image_id.lower()]
        pages = max(1, -(-len(found) // NUM_SHOWN))
        at = page % pages * NUM_SHOWN
        return found[at : at + NUM_SHOWN], len(found)

    def search(self, asked: Round) -> list[Found]:
        """What each model finds.

        Raises:
            ValueError: the picture cannot be read, or all models that there are need both a picture and a text.
        """
        if self._needs_both(asked):
            raise ValueError("This model compares a picture with a text only: give it both.")
        return [self._found(model, retriever, asked) for model, retriever in self._retrievers.items()]

    def _needs_both(self, asked: Round) -> bool:
        return not (asked.picture and asked.text) and not any(r.searches_halves for r in self._retrievers.values())

    def _found(self, model: str, retriever: Retriever, asked: Round) -> Found:
        notes = []
        if not retriever.searches_halves:
            notes.append("This model has no space of pictures and texts alone: there is nothing to compare with.")
            if not (asked.picture and asked.text):
                return Found(model, "", (), {}, {}, ("This model needs both a picture and a text.",))
        if asked.text and not retriever.reads_whole(asked.text):
            notes.append("The text is longer than this model reads: its end was left out.")
        own = own_ids(retriever, asked.picture)
        (way, results), *halves = ways(retriever, asked.picture, asked.text, own).items()
        best = tuple(results[:NUM_RESULTS])
        shown = {each.image_id for each in best}
        places = {
            half: {each.image_id: place for place, each in enumerate(those, 1) if each.image_id in shown}
            for half, those in halves
        }
        return Found(
            model, way, best, {half: tuple(those[:NUM_RESULTS]) for half, those in halves}, places, tuple(notes)
        )


def shown_names(checkpoints: Sequence[Path]) -> list[str]:
    """What checkpoints are called on a page: the shortest ends of their paths that tell them apart."""
    parts = [path.absolute().parts for path in checkpoints]
    for length in range(2, max(map(len, parts)) + 1):
        names = ["/".join(each[-length:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    raise ValueError(f"compare={checkpoints[-1]} is the same as ckpt=: name another checkpoint")

"""How a set of annotated pairs lies in its folder: which file holds the texts, and how its images are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from diptych.photos.image_urls import is_remote

FORMS = ("list", "each", "joined")


class TripletLayout(Protocol):
    """A layout of the export. `file` is the path, below the set's folder, of the file that holds the triplets;
    `copies_images` says whether the set has its images with it.
    """

    file: str
    copies_images: bool

    def image_name(self, image: str) -> str | None:
        """What the file calls an image, a path or URL; None where images are named by their content.

        Raises:
            ValueError: the layout has no name for it.
        """

    def image_file(self, name: str) -> str:
        """Where, below the set's folder, the image of this name lies."""

    def wordings(self, texts: Sequence[str], sentences: Sequence[str]) -> Sequence[str]:
        """What stands in the file of a pair's texts, which are made of these sentences."""

    def write(self, path: Path, records: Sequence[Mapping[str, Any]]) -> None:
        """Writes the file whole. Records are lines of `train.jsonl` (docs/own_data.md) with the layout's names and
        wordings.
        """


def in_form(form: str, texts: Sequence[str], sentences: Sequence[str]) -> Sequence[str]:
    """A pair's wordings: its texts, or with `joined` all its sentences, each once, in one text."""
    return [" ".join(sentences)] if form == "joined" else texts


def as_records(
    form: str, caption_key: str, records: Sequence[Mapping[str, Any]], images: Sequence[Mapping[str, str]]
) -> list[dict[str, Any]]:
    """Records of a published layout: the keys of `images`, the caption, and what traces them back, `pair_id` and, of
    pairs that have one, `group`. The caption is one string, with `list` a list; with `each` every text has a record.
    """
    written = []
    for record, named in zip(records, images, strict=True):
        texts = record["modification_texts"]
        traced = {"pair_id": record["query_id"], **({"group": record["group"]} if "group" in record else {})}
        for caption in [texts] if form == "list" else texts:
            written.append({**named, caption_key: caption, **traced})
    return written


def check_choice(key: str, value: str, known: Sequence[str]) -> str:
    """The value, if it is one of those known; else ValueError."""
    if value not in known:
        raise ValueError(f"{key}={value} is not known; choose one of {', '.join(known)}")
    return value


def location(image: str) -> str:
    """An image's address as readers of published layouts take it: without what follows the path of a URL.

    Raises:
        ValueError: the path of a file holds a character that would be taken for that.
    """
    if is_remote(image):
        return image.split("#")[0].split("?")[0]
    if "#" in image or "?" in image:
        raise ValueError(f"{image}: readers of this layout cut names at '#' and '?'; rename the file")
    return image

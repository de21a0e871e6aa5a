"""What `diptych search` and the page of `diptych app` have in common: one query, and each half of it alone."""

from __future__ import annotations

import filecmp
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from diptych.api.retriever import Retriever
from diptych.config.trained import checkpoint_path
from diptych.contracts.search import SearchResult


def index_place(images: Path, checkpoint: Path) -> Path:
    """Where the index of a folder lies that was given no place: in the folder of all data, one for each checkpoint."""
    which = f"{images.absolute()}\n{checkpoint_path(checkpoint).resolve()}"
    name = f"{images.absolute().name}_{hashlib.sha256(which.encode()).hexdigest()[:12]}.index"
    return Path(os.environ.get("DIPTYCH_DATA", "data")) / "searched" / name


def ways(retriever: Retriever, image: Path | None, text: str, own: Sequence[str]) -> dict[str, list[SearchResult]]:
    """All images but its `own`, best first, by the query, and by each half of it alone where it has two and the model
    can tell.
    """
    halves: dict[str, tuple[Path | None, str | None]] = {"picture": (image, None), "text": (None, text)}
    if image is None or not text:
        only = "picture" if image is not None else "text"
        return {only: retriever.search(*halves[only], k=len(retriever), exclude=own)}
    found = {"picture and text": retriever.search(image, text, k=len(retriever), exclude=own)}
    if retriever.searches_halves:
        found |= {way: retriever.search(*half, k=len(retriever), exclude=own) for way, half in halves.items()}
    return found


def own_ids(retriever: Retriever, image: Path | None) -> list[str]:
    """The ids in the index of the file that is searched with, or of one of its name and content: it would be its own
    nearest.
    """
    if image is None:
        return []
    named_alike = [each for each in retriever.images if each.path.name in (image.name, image.resolve().name)]
    return [each.image_id for each in named_alike if _is_same(each.path, image)]


def _is_same(indexed: Path, image: Path) -> bool:
    """Whether both are one file, or one is a copy of the other."""
    if indexed.resolve() == image.resolve():
        return True
    return indexed.is_file() and filecmp.cmp(indexed, image, shallow=False)

"""The doctor for what Diptych has written: checkpoints, record logs, embeddings, features, prompts, articles, galleries
and ledgers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import track

from diptych.annotation.ledger.ledger_tables import check_ledger
from diptych.annotation.spending import LEDGER
from diptych.api.gallery import check_gallery
from diptych.contracts.models import ImageFeatures, TextFeatures
from diptych.data.news.article_store import ArticleStore
from diptych.data.news.embedding_cache import FILE as SENTENCES
from diptych.data.news.embedding_cache import check_sentences
from diptych.data.news.fusion_cache import EXAMPLES, FusionData
from diptych.data.triplets.feature_cache import FeatureShards
from diptych.index.embedding_part import SUFFIX, read_part
from diptych.index.embedding_store import FACTS, open_embeddings
from diptych.parallel import checkpoints
from diptych.storage.checksums import check_seal
from diptych.storage.json_files import each_json_line

Store = tuple[Path, Callable[[Path], object], Callable[[Path], object]]  # a quick look at it; everything read


def examine_stores(folder: Path, everything: bool) -> int:
    """Opens every store below the folder, and with `everything` compares what it holds with its checksums. Prints what
    is damaged and what to do; returns 1 if anything is, else 0.

    Raises:
        ValueError: there is no such folder.
    """
    if not folder.is_dir():
        raise ValueError(f"run={folder} is no folder")
    console = Console(soft_wrap=True, highlight=False)
    found = sorted(_stores(folder), key=lambda store: store[0])
    num_damaged = 0
    bar = Console(stderr=True)
    for path, look, read in track(found, "stores", len(found), console=bar, transient=True, disable=not found):
        try:
            (read if everything else look)(path)
        except (ValueError, OSError) as error:
            num_damaged += 1
            console.print(f"Damaged: {error}", markup=False)
    if num_damaged:
        console.print(f"Next: {num_damaged:,} of {len(found):,} stores are damaged; the lines above say what to do.")
        return 1
    compared = "all that they hold is as it was written" if everything else "checksums=true reads all that they hold"
    console.print(f"{len(found):,} stores below {folder} can be opened; {compared}.", markup=False)
    return 0


def _stores(folder: Path) -> Iterator[Store]:
    """What is known by its name; folders that are links are not followed."""
    for place, folders, names in os.walk(folder):
        here = Path(place)
        yield from (_checkpoint(here / name) for name in (*names, *folders) if name.endswith(".ckpt"))
        for name in names:
            path = here / name
            if name.startswith(".") and name.endswith(".crc"):
                yield path.with_name(name[1:-4]), _lines, _lines
            elif name == FACTS:
                yield here, open_embeddings, lambda at: open_embeddings(at).vectors
            elif name.endswith(SUFFIX):
                yield path, read_part, read_part
            elif name == EXAMPLES:
                yield here, FusionData, lambda at: FusionData(at).check()
            elif name == SENTENCES:
                yield path, check_sentences, check_sentences
            elif name.endswith(".articles.sqlite"):
                yield path, ArticleStore.of_file, lambda at: ArticleStore.of_file(at).check()
            elif name.endswith(LEDGER):
                yield path, partial(check_ledger, everything=False), check_ledger
            elif name.endswith(".index"):
                yield path, check_gallery, partial(check_gallery, everything=True)
            elif name.endswith(".faiss"):
                yield path, Path.stat, check_seal
        for name, kind in (("images", ImageFeatures), ("texts", TextFeatures)):
            if name in folders and "manifest.json" in names and any((here / name).glob("[0-9]*/starts.npy")):
                yield here / name, partial(_shards, kind), partial(_check_shards, kind)


def _checkpoint(path: Path) -> Store:
    return path, lambda at: checkpoints.check(at, quick=True), checkpoints.check


def _shards(kind: type, folder: Path) -> FeatureShards:
    return FeatureShards(folder, kind)


def _check_shards(kind: type, folder: Path) -> None:
    _shards(kind, folder).check()


def _lines(path: Path) -> None:
    for _ in each_json_line(path, "delete the line, or the file", growing=True, missing_ok=True):
        pass

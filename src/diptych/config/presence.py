"""Whether the data that a config names is there at all, asked before anything slow is imported."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from diptych.config.building import build
from diptych.contracts.news import NewsSource
from diptych.contracts.retrieval import TripletSource
from diptych.storage.presence import require_folder

_NOTHING_TO_MAKE = (TripletSource.prepare, NewsSource.prepare)  # what a source inherits that makes nothing


def require_data(config: DictConfig) -> None:
    """Does nothing where the folder of each source is there, or the source makes its own, or the config has none.

    Raises:
        ValueError: a folder is missing; says where it was looked for, and which page tells how to get the data.
    """
    sources = OmegaConf.select(config, "data.sources")
    names = OmegaConf.select(config, "data.train_on") or list(sources or ())
    for name in names if sources else ():
        node = sources.get(name)
        if node is None or "_target_" not in node:
            continue  # which is said later, with the names that there are
        source = build(node)
        if getattr(type(source), "prepare", None) in _NOTHING_TO_MAKE:
            require_folder(Path(source.root), source.name, source.docs_page)

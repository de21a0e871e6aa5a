"""The triplet datasets that a config names, for commands that read their records and build nothing else."""

from __future__ import annotations

from omegaconf import DictConfig

from diptych.config.building import build
from diptych.config.checking import check_data_root, check_section, kind_of, suggest
from diptych.config.plain_config import plain_section
from diptych.contracts.retrieval import TripletSource


def triplet_sources(config: DictConfig, split: str) -> dict[str, TripletSource]:
    """The sources of a config's data by name, prepared: those that train on where the split is `train`, else those that
    are evaluated on.

    Raises:
        ValueError: the data holds no triplets, one of its keys is unknown, or it chooses a source that there is not.
    """
    check_data_root(config)
    key = "train_on" if split == "train" else "evaluate_on"
    chosen = config.data.get(key) or list(config.data.sources)
    if unknown := [name for name in chosen if name not in config.data.sources]:
        raise ValueError(f"data.{key}: there is no source {unknown[0]!r}.{suggest(unknown[0], [*config.data.sources])}")
    settings = {name: config.data.sources[name] for name in chosen}
    for name, node in settings.items():
        if kind_of(f"data.sources.{name}", node) != TripletSource.kind:
            raise ValueError(
                f"data.sources.{name} has no triplets: choose data of composed image retrieval, as data=cirr"
            )
        check_section(f"data.sources.{name}", plain_section(node))
    sources: dict[str, TripletSource] = {name: build(node, _convert_="all") for name, node in settings.items()}
    for source in sources.values():
        source.prepare()
    return sources

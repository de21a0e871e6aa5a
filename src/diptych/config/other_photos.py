"""Another set of news photos for a fuser that is trained: what is of the set, and what the fuser was trained with."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf

from diptych.config.plain_config import plain_section

_OF_A_SET = ("root", "sources", "retrieval", "base_captions", "evidence_source", "evaluation_source", "cache")


def with_other_photos(trained: DictConfig, chosen: DictConfig, words: Sequence[str]) -> DictConfig:
    """The data section of a captioning run with the photos and articles of the `chosen` one: its sources, the files
    that belong to them, and the cache; and with what the `words` of the command line name below `data`. Prompts are
    made as the fuser was trained with them.
    """
    data, other = (OmegaConf.create(plain_section(section, resolve=False)) for section in (trained, chosen))
    keys = [word.lstrip("+~").partition("=")[0].rpartition("@")[2] for word in words]
    typed = [key.removeprefix("data.") for key in keys if key.startswith("data.")]
    for name in (*_OF_A_SET, *typed):
        value = OmegaConf.to_container(other, resolve=False)
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        OmegaConf.update(data, name, value, merge=False, force_add=True)
    return data

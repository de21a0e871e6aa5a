"""How varied the modification texts of triplets are: a column for each source of a config's data.

diptych texts data=cirr [split=train] [sample=200] [output=FILE]
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from diptych.annotation.diversity import diversity_table, text_diversity
from diptych.commands.triplet_sources import triplet_sources
from diptych.models.backbones.clip import CLIPPreprocessing
from diptych.storage.json_files import write_json


def examine_texts(config: DictConfig, split: str, sample: int, output: Path | None) -> str:
    """The table, of the sources that are trained on (split=train) or evaluated on; with `output` also as JSON there.
    All are compared on as many texts as the smallest has, at most `sample`.

    Raises:
        ValueError: the data holds no triplets, or the split none; or `sample` is below 2.
    """
    texts = {}
    for name, source in triplet_sources(config, split).items():
        texts[name] = [triplet.modification_texts for triplet in source.triplets(split)]
        if not any(texts[name]):
            raise ValueError(f"{name}: the split {split} has no modification texts")
    smallest = min(sum(map(bool, of_source)) for of_source in texts.values())
    preprocessing = CLIPPreprocessing("ViT-B-32")  # whose 77 tokens are the limit that the field speaks of
    found = {
        name: text_diversity(of_source, max(2, min(sample, smallest)) if sample > 1 else sample, 0, preprocessing)
        for name, of_source in texts.items()
    }
    if output is not None:
        write_json(output, {"split": split, "sources": found}, ascii_only=False)
    return diversity_table(found)

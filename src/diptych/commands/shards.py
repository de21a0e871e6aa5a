"""Writes the training triplets of a dataset or a mix into tar files that training reads in sequence.

    python -m diptych.shards data=rooms output=DIR [per_shard=1000] [workers=N] [data.training.group_size=4] ...

Takes every setting that `train.py` takes (`experiment=...` too); those that decide what is written are listed in
docs/shards.md. A conversion that was interrupted goes on with the same command.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from omegaconf import DictConfig

from diptych.config.building import build, build_data
from diptych.config.checking import check_data_root, check_section, kind_of
from diptych.config.override_words import in_shell, override
from diptych.config.plain_config import plain_section
from diptych.contracts.retrieval import TripletSource
from diptych.data.triplets.captions import expand
from diptych.data.triplets.from_files import FromFiles
from diptych.data.triplets.listed_triplets import ListedTriplets
from diptych.data.triplets.shard_writing import write_shards
from diptych.data.triplets.shards import ShardFolder
from diptych.data.triplets.training_data import TrainingInputs


def convert(
    inputs: TrainingInputs,
    training: FromFiles,
    wants: Collection[str],
    output: str,
    per_shard: int,
    workers: int | None,
) -> ShardFolder:
    """Writes the training triplets of these sources, with distractors if these are wanted; ValueError for settings that
    shards cannot have.
    """
    if training.drawing.weights is not None:
        raise ValueError("shards hold every triplet once: data.training.weights must be null")
    exploded = training.caption_policy == "explode"
    expand([], training.caption_policy)  # which says what is wrong with it
    for source in inputs.sources.values():
        source.prepare()
    # Of the other policies all wordings are kept: training may choose another one without new shards.
    triplets = ListedTriplets(inputs, "explode" if exploded else "random", training.drawing)
    return write_shards(
        triplets.records,
        output,
        per_shard=per_shard,
        seed=training.drawing.seed,
        group_size=training.drawing.group_size,
        exploded=exploded,
        with_distractors="distractors" in wants,
        num_workers=workers,
        show_progress=True,
    )


def convert_data(config: DictConfig, output: Path, per_shard: int = 1000, workers: int | None = None) -> str:
    """Converts the triplets of a config's data; returns what was written, in words.

    Raises:
        ValueError: the data holds no triplets, or has settings that shards cannot have.
    """
    for name, number in (("per_shard", per_shard), ("workers", workers)):
        if number is not None and number < 1:
            raise ValueError(f"{name}={number} must be at least 1")
    if kind_of("data", config.data) != TripletSource.kind:
        raise ValueError("shards hold triplets: choose data of composed image retrieval, as data=rooms")
    check_section("data", plain_section(config.data))
    check_data_root(config)
    module = build_data(config.data)
    if module.training.kind != FromFiles.kind:
        raise ValueError(f"shards are written from files: choose data/training=files, not {module.training.kind}")
    auxiliary = config.system.get("auxiliary_losses") or {}
    losses = [build(node) for node in (config.system.loss, *auxiliary.values())]
    wants = frozenset().union(*(loss.wants for loss in losses))
    shards = convert(module.training_inputs(), module.training, wants, str(output), per_shard, workers)
    size = sum(shard.bytes for shard in shards.shards)
    return (
        f"{shards.folder}: {shards.settings['triplets']:,} triplets in {len(shards.shards):,} shards, "
        f"{size / 1e6:,.1f} MB; train on them with data/training=shards "
        f"{in_shell(override('data.training.shards', shards.folder))}"
    )

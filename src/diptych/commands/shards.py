"""Writes the training triplets of a dataset or a mix into tar files that training reads in sequence.

    python -m diptych.shards data=rooms output=DIR [per_shard=1000] [workers=N] [data.training.group_size=4] ...

Takes every setting that `train.py` takes (`experiment=...` too); those that decide what is written are listed in
docs/shards.md. A conversion that was interrupted goes on with the same command.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Sequence

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from diptych.config.building import build, build_data
from diptych.config.checking import check_data_root, check_section, kind_of
from diptych.config.folder import CONFIG_FOLDER
from diptych.config.resolvers import register_resolvers
from diptych.contracts.retrieval import TripletSource
from diptych.data.triplets.captions import expand
from diptych.data.triplets.from_files import FromFiles
from diptych.data.triplets.listed_triplets import ListedTriplets
from diptych.data.triplets.shard_writing import write_shards
from diptych.data.triplets.shards import ShardFolder
from diptych.data.triplets.training_data import TrainingInputs

_USAGE = (
    "usage: python -m diptych.shards data=rooms output=DIR [per_shard=1000] [workers=N] "
    "[data.training.group_size=4] [data.training.caption_policy=explode] [system.loss.distractor_negatives=true] "
    "[seed=0] ..."
)
_OWN = ("output", "per_shard", "workers")


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


def main(arguments: Sequence[str]) -> int:
    """Composes the datamodule that the arguments describe and converts its triplets; 2 if that is not possible."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    own = dict(word.partition("=")[::2] for word in arguments if word.partition("=")[0] in _OWN)
    overrides = [word for word in arguments if word.partition("=")[0] not in _OWN]
    try:
        numbers = [own.get(key, "1") for key in ("per_shard", "workers")]
        named = any(word.startswith(("data=", "experiment=")) for word in overrides)
        if not own.get("output") or not named or not all(number.isdigit() and int(number) for number in numbers):
            raise ValueError(_USAGE)
        register_resolvers()
        with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
            config = compose("train", overrides)
        if kind_of("data", config.data) != TripletSource.kind:
            raise ValueError("shards hold triplets: choose data of composed image retrieval, as data=rooms")
        check_section("data", OmegaConf.to_container(config.data, resolve=True))
        check_data_root(config)
        module, loss = build_data(config.data), build(config.system.loss)
        if module.training.kind != FromFiles.kind:
            raise ValueError(f"shards are written from files: choose data/training=files, not {module.training.kind}")
        per_shard, workers = int(own.get("per_shard", 1000)), int(own["workers"]) if "workers" in own else None
        inputs = module.training_inputs()
        shards = convert(inputs, module.training, loss.wants, own["output"], per_shard, workers)
    except (ValueError, OSError, HydraException, OmegaConfBaseException) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    size = sum(shard.bytes for shard in shards.shards)
    print(  # noqa: T201
        f"{shards.folder}: {shards.settings['triplets']:,} triplets in {len(shards.shards):,} shards, "
        f"{size / 1e6:,.1f} MB; train on them with data/training=shards data.training.shards={shards.folder}"
    )
    return 0

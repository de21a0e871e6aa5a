"""Writes the training triplets of a dataset or a mix into tar files that training reads in sequence.

    python -m diptych.shards data=rooms output=DIR [per_shard=1000] [workers=N] [data.group_size=4] ...

Takes every setting that `train.py` takes (`experiment=...` too); those that decide what is written are listed in
docs/shards.md. A conversion that was interrupted goes on with the same command.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from diptych.config.building import build
from diptych.config.folder import CONFIG_FOLDER
from diptych.config.resolvers import register_resolvers
from diptych.data.triplets.captions import expand
from diptych.data.triplets.cir_datamodule import CIRDataModule
from diptych.data.triplets.shard_writing import write_shards
from diptych.data.triplets.shards import ShardFolder

_USAGE = (
    "usage: python -m diptych.shards data=rooms output=DIR [per_shard=1000] [workers=N] "
    "[data.group_size=4] [data.with_distractors=true] [data.caption_policy=explode] [seed=0] ..."
)
_OWN = ("output", "per_shard", "workers")


def convert(module: CIRDataModule, output: str, per_shard: int, workers: int | None) -> ShardFolder:
    """Writes the module's training triplets; ValueError for settings that shards cannot have."""
    if module.weights is not None:
        raise ValueError("shards hold every triplet once: data.weights must be null")
    if module.shards is not None:
        raise ValueError("shards are written from files: data.shards must be null")
    exploded = module.caption_policy == "explode"
    expand([], module.caption_policy)  # which says what is wrong with it
    if not exploded:
        module.caption_policy = "random"  # keeps all wordings: training may choose another policy without new shards
    for name in module.train_on:
        if hasattr(module.sources[name], "prepare"):
            module.sources[name].prepare()
    return write_shards(
        module.training_dataset().records,
        output,
        per_shard=per_shard,
        seed=module.seed,
        group_size=module.group_size,
        exploded=exploded,
        with_distractors=module.with_distractors,
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
        if config.data._target_ != f"{CIRDataModule.__module__}.{CIRDataModule.__name__}":
            raise ValueError("shards hold triplets: choose data of composed image retrieval, as data=rooms")
        module = build(config.data)
        per_shard, workers = int(own.get("per_shard", 1000)), int(own["workers"]) if "workers" in own else None
        shards = convert(module, own["output"], per_shard, workers)
    except (ValueError, OSError, HydraException, OmegaConfBaseException) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    size = sum(shard.bytes for shard in shards.shards)
    print(  # noqa: T201
        f"{shards.folder}: {shards.settings['triplets']:,} triplets in {len(shards.shards):,} shards, "
        f"{size / 1e6:,.1f} MB; train on them with data.shards={shards.folder}"
    )
    return 0

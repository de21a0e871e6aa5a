"""What a resumed run takes from its command line, as Hydra has composed it."""

from __future__ import annotations

from pathlib import Path

import hydra
import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from diptych.config import folder, resolvers
from diptych.config.plain_config import typed_overrides
from diptych.config.resumed import with_changes

OWN = ["experiment=cir_rooms", "trainer=cpu", "trainer.max_steps=4", "data.training.batch_size=8", "name=first"]


def composed(*words):
    """What `train.py` with these words hands on; the words are then those of the command line."""
    resolvers.register_resolvers()
    with hydra.initialize_config_dir(str(folder.CONFIG_FOLDER), version_base="1.3"):
        config = hydra.compose("train", overrides=list(words), return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    return OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])


def resumed(*words, own=OWN):
    run = composed(*own)
    now = composed(*words, "resume=/runs/first")
    return with_changes(run, now, typed_overrides(), own, Path("/runs/first"))


@pytest.mark.parametrize(
    ("words", "key", "expected"),
    [
        (["trainer.max_steps=6"], "trainer.max_steps", 6),
        (["logger=wandb"], "logger.wandb._target_", "diptych.loggers.wandb_logger.ForgivingWandbLogger"),
        (["logger=wandb", "logger.wandb.project='a, b'"], "logger.wandb.project", "a, b"),
        (["+logger.wandb.project=x"], "logger.wandb.project", "x"),
        (["data.root='/data/set (1)'"], "data.root", "/data/set (1)"),
        (["data.root='/data/a,b=c'"], "data.root", "/data/a,b=c"),
        (["data_dir='2024'"], "data_dir", "2024"),
        (["~callbacks.retrieval_examples"], "callbacks.retrieval_examples", None),
        (["+trainer.limit_test_batches=2"], "trainer.limit_test_batches", 2),
        (["++trainer.max_steps=7"], "trainer.max_steps", 7),
        (["trainer.val_check_interval=null"], "trainer.val_check_interval", None),
        (["evaluate_at_end=false"], "evaluate_at_end", False),
    ],
)
def test_what_may_change_is_applied_as_hydra_reads_it(words, key, expected):
    config = resumed(*words)
    assert OmegaConf.select(config, key) == expected
    assert config.data.training.batch_size == 8 and config.name == "first"


def test_a_group_takes_the_place_of_what_was_there():
    config = resumed("logger=none", own=[*OWN, "logger=wandb"])
    assert config.logger == {}


@pytest.mark.hostile("kills")
@pytest.mark.parametrize(
    "words",
    [
        OWN,
        ["data.training.batch_size=8"],
        ["++data.training.batch_size=8", "trainer=cpu"],
        [*OWN, "data=rooms", "system=cir"],
        ["seed=0", "init_from=null", "cluster=local"],
        ["tf32=false", "join_run=null"],
    ],
)
def test_overrides_that_say_what_the_run_has_are_no_change(words):
    assert resumed(*words) == composed(*OWN)


@pytest.mark.parametrize(
    "word",
    [
        "data.training.batch_size=9",
        "data=cirr",
        "experiment=cir_all",
        "seed=1",
        "system/optimizer=muon",
        "trainer=ddp_cpu",
    ],
)
def test_another_run_is_refused(word):
    with pytest.raises(
        ValueError, match=r"resuming /runs/first with .* would be another run; these may change: trainer"
    ):
        resumed(word)

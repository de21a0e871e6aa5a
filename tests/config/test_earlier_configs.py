"""Configs that earlier versions left: this version reads what it would have composed."""

from __future__ import annotations

from pathlib import Path

import hydra
import pytest
from omegaconf import OmegaConf

from diptych.config import checking, command_line, folder
from diptych.config.earlier_configs import advice_on, upgraded
from diptych.config.resolvers import register_resolvers

# The config.yaml of a run of cir_rooms, before training data were one of three parts and modules moved.
EARLIER = Path(__file__).parents[1] / "assets/earlier_configs/cir_rooms_format_1.yaml"


@pytest.fixture(autouse=True)
def resolvers():
    register_resolvers()


def composed(*overrides):
    with hydra.initialize_config_dir(str(folder.CONFIG_FOLDER), version_base="1.3"):
        return hydra.compose("train", overrides=list(overrides))


def plain(config):
    return OmegaConf.to_container(config, resolve=False)


def with_data(config, **changes):
    config.data.update(changes)
    return config


# Arguments that have come since, which a config without them leaves at the value that was built in.
SINCE = {
    "data.images_on": "auto",
    "data.sources.rooms.wordings": None,  # the texts that were written with the set
    "data.corruption": {
        "_target_": "diptych.data.triplets.corruption.Corruption",
        "untrue": 0,  # nothing is made untrue
        "kinds": None,
        "seed": 0,
        "leave_out": False,
    },
    "data.mined": {
        "_target_": "diptych.data.triplets.mined_negatives.MinedNegatives",
        "rankings": None,  # nothing is mined
        "k": 4,
        "margin": 0.1,
    },
    "system.loss.mask_duplicates": True,
    "system.model.backbone.preprocessing.tokenizer": "open_clip",
    "system.model.start": "image",
}
ROOMS = ("experiment=cir_rooms", "trainer.max_steps=20", "trainer.val_check_interval=10", "name=before")


@pytest.mark.parametrize(
    ("changes", "overrides"),
    [
        ({}, ()),
        (
            {"on_missing": "drop", "evaluation_batch_size": 9},
            ("data.images.on_missing=drop", "data.evaluation.batch_size=9"),
        ),
        (
            {"feature_cache": "x", "augmentation": None},
            ("data/training=features", "data.training.feature_cache=x", "~data.training.augmentation"),
        ),
        (
            {"shards": "${data_dir}/y", "shuffle_block": 4},
            ("data/training=shards", "data.training.shards=${data_dir}/y", "data.training.shuffle_block=4"),
        ),
    ],
    ids=["files", "settings", "features", "shards"],
)
def test_a_data_section_with_all_settings_side_by_side_is_put_into_its_parts(changes, overrides):
    config = upgraded(with_data(OmegaConf.load(EARLIER), **changes))
    expected = composed(*ROOMS, *overrides)
    of_training = expected.data.training
    if of_training.get("augmentation") is not None:  # it stood alone, and is one of a sequence now
        (of_training.augmentation,) = of_training.augmentation.augmentations
    OmegaConf.set_struct(expected, False)
    expected.data.pop("noun_phrases")  # nothing looked for them
    for key, value in SINCE.items():
        section, _, name = key.rpartition(".")
        assert OmegaConf.select(expected, section).pop(name) == value, key
    assert plain(config.data) == plain(expected.data)
    assert OmegaConf.to_container(config.system, resolve=True) == OmegaConf.to_container(expected.system, resolve=True)
    checking.check(config, checking.root_keys("train"))
    checking.check_data_fits_system(config)
    assert plain(upgraded(config)) == plain(config)


def test_a_section_of_news_loses_its_test_split():
    config = composed("experiment=fuser_newsroom")
    earlier = OmegaConf.create(plain(config) | {"data": {**plain(config.data), "test_split": "test"}})
    assert plain(upgraded(earlier)) == plain(config)


def test_a_captioner_asks_its_own_parts_for_the_choice_among_candidates():
    config = composed("experiment=fuser_newsroom")
    earlier = plain(config)
    del earlier["system"]["generator"]["claim_checker"]
    earlier["system"]["generator"]["encoder"] = None
    assert plain(upgraded(OmegaConf.create(earlier))) == plain(config)  # the recogniser is that of its metrics
    earlier["system"]["metrics"] = {}
    without = plain(upgraded(OmegaConf.create(earlier)))["system"]["generator"]["claim_checker"]
    assert without == plain(composed("experiment=fuser_openevents"))["system"]["generator"]["claim_checker"]


@pytest.mark.parametrize(("before", "now"), [(True, "auto"), (False, 0)])
def test_a_fuser_computes_as_many_layers_again_as_it_did(before, now):
    config = composed("experiment=fuser_newsroom", f"system.model.recompute={now}")
    earlier = plain(config)
    del earlier["system"]["model"]["recompute"]
    earlier["system"]["model"]["gradient_checkpointing"] = before
    assert plain(upgraded(OmegaConf.create(earlier))) == plain(config)


@pytest.mark.parametrize(
    ("key", "advice"),
    [
        (
            "system.model.gradient_checkpointing",
            " It is gone: system.model.recompute=auto is true, system.model.recompute=0 is false",
        ),
        ("data.shards", " It is data.training.shards now, with data/training=shards"),
        ("data.feature_cache", " It is data.training.feature_cache now, with data/training=features"),
        ("data.batch_size", " It is data.training.batch_size now"),
        ("data.image_cache", " It is data.images.cache now"),
        ("data.evaluation_batch_size", " It is data.evaluation.batch_size now"),
        (
            "data.with_distractors",
            " It is gone: the loss says whether they are loaded: system.loss.distractor_negatives=true",
        ),
        (
            "data.training.augmentation",
            " Only data/training=files and shards has it; '~data.training.augmentation' takes it out",
        ),
        ("data.batch_sise", ""),
        ("system.batch_size", ""),
    ],
)
def test_a_setting_that_moved_is_said_to_be_where_it_is(key, advice):
    assert advice_on(key) == advice


def test_an_earlier_key_is_answered_with_the_present_one(monkeypatch):
    words = ["experiment=cir_rooms", "data.feature_cache=x"]
    monkeypatch.setattr("sys.argv", ["train.py", *words])
    with pytest.raises(hydra.errors.HydraException) as caught:
        composed(*words)
    message = command_line.explain(caught.value, "train")
    assert message.startswith("unknown key 'data.feature_cache'. It is data.training.feature_cache now")
    config = composed("experiment=cir_rooms", "+data.evaluation_batch_size=9")  # as an experiment's file may have it
    with pytest.raises(
        ValueError, match=r"unknown key 'data.evaluation_batch_size'. It is data.evaluation.batch_size now"
    ):
        checking.check(config, checking.root_keys("train"))


def test_what_one_way_of_reading_does_not_have_can_be_taken_out():
    features = ["experiment=cir_rooms", "data/training=features", "data.training.feature_cache=x"]
    with pytest.raises(ValueError, match=r"unknown key 'data.training.augmentation'.*'~data.training.augmentation'"):
        checking.check(composed(*features), checking.root_keys("train"))
    checking.check(composed(*features, "~data.training.augmentation"), checking.root_keys("train"))

"""Whether data and system go together: their classes say what they are for, whatever they are called."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from diptych.config.checking import check, check_data_fits_system, check_data_root
from diptych.data.triplets.cir_datamodule import CIRDataModule

TRIPLETS = "diptych.data.triplets.cir_datamodule.CIRDataModule"
NEWS = "diptych.data.news.news_datamodule.NewsDataModule"
RETRIEVAL = "diptych.systems.cir.CIRSystem"
FUSER = "diptych.systems.caption_fuser.CaptionFuserSystem"


class OwnSubclass(CIRDataModule):
    """A user's subclass."""


class OwnSystem:
    """A user's own class, in a file of any name."""

    kind = "retrieval"


class Speaker:
    """One of a kind that this house does not know."""

    kind = "speech"


class Silent:
    """A class that does not say what it is for."""


def config(data: str, system: str):
    return OmegaConf.create({"data": {"_target_": data}, "system": {"_target_": system}})


@pytest.mark.parametrize(
    ("data", "system"),
    [
        (TRIPLETS, RETRIEVAL),
        (NEWS, FUSER),
        (f"{__name__}.OwnSubclass", RETRIEVAL),
        (f"{__name__}.OwnSubclass", f"{__name__}.OwnSystem"),
        (f"{__name__}.Speaker", f"{__name__}.Speaker"),
    ],
)
def test_what_is_of_one_kind_goes_together(data, system):
    check_data_fits_system(config(data, system))


@pytest.mark.parametrize(
    ("data", "system", "message"),
    [
        (NEWS, RETRIEVAL, "data holds news photos to caption.*use system=caption_fuser"),
        (TRIPLETS, FUSER, "writes captions of news photos; use data=newsroom or data=openevents"),
        (f"{__name__}.Speaker", f"{__name__}.OwnSystem", "data is of the kind 'speech', but system .* 'retrieval'"),
        (f"{__name__}.Silent", RETRIEVAL, r"data\._target_: .*Silent has no attribute `kind`"),
        ("diptych.data.nothing.Here", RETRIEVAL, r"data\._target_: there is no diptych\.data\.nothing\.Here"),
    ],
)
def test_what_is_of_two_kinds_does_not(data, system, message):
    with pytest.raises(ValueError, match=message):
        check_data_fits_system(config(data, system))


def test_of_a_checkpoints_config_only_our_classes_are_looked_at():
    with pytest.raises(ValueError, match=r"data\._target_: this\.Stranger is not allowed in a checkpoint's config"):
        check_data_fits_system(config("this.Stranger", RETRIEVAL), trusted=False)


def test_a_root_is_that_of_one_source():
    sources = {"one": {"_target_": "a.One", "root": "here"}, "other": {"_target_": "a.Other", "root": "here"}}
    with pytest.raises(ValueError, match=r"data\.sources\.<name>\.root"):
        check_data_root(OmegaConf.create({"data": {"root": "here", "sources": sources}}))
    categories = {name: {"_target_": "a.One", "root": "here"} for name in ("dress", "shirt")}
    check_data_root(OmegaConf.create({"data": {"root": "here", "sources": categories}}))
    sources["other"]["root"] = "there"
    for root in ("here", None):
        check_data_root(OmegaConf.create({"data": {"root": root, "sources": sources}}))


def test_the_root_is_a_key_of_the_section_and_no_argument():
    node = {"_target_": TRIPLETS, "sources": {}, "preprocessing": None, "root": "here"}
    check(OmegaConf.create({"data": node}), ["data"])
    with pytest.raises(ValueError, match=r"unknown key 'system\.root'"):
        check(OmegaConf.create({"system": node}), ["system"])

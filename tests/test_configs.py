"""Every config composes, every `_target_` binds to its signature, and mistakes get an answer."""

import re
import sys
from pathlib import Path

import hydra
import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from diptych.config import building, checking, command_line, folder
from diptych.config.resolvers import register_resolvers
from diptych.studying.planning import plan_study
from diptych.studying.reading import needs_of, read_study

CONF = folder.CONFIG_FOLDER
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


@pytest.fixture(autouse=True)
def resolvers():
    register_resolvers()


def compose(*overrides, name="train"):
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose(name, overrides=list(overrides))


def options(group):
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_and_binds(experiment):
    config = compose(f"experiment={experiment}")
    assert config.name == experiment
    checking.check(config, checking.root_keys("train"))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["cir", "good4cir"])
def test_good4cirs_seven_training_mixes_are_there(recipe):
    mixes = ("cirr", "cirr_r", "hotel", "cirr_cirr_r", "cirr_hotel", "cirr_r_hotel", "all")
    mixes = {f"{recipe}_{mix}" for mix in mixes}
    assert mixes <= set(EXPERIMENTS)
    trained_on = {}
    for mix in mixes:
        data = compose(f"experiment={mix}").data
        trained_on[frozenset(data.train_on or data.sources)] = mix
    assert len(trained_on) == 7


NEWS = (
    "newsroom",
    "newsroom_432",
    "openevents",
    "own_captions",
    "fuser_deepseek_qwen3",
    "fuser_smollm2",
    "caption_fuser",
    "causal_lm",
    "captions",
)
CAPTION_GROUPS = {  # where the option is put, by the folder that it lies in
    "prompt": "prompt@data.preparation.prompt",
    "data/evidence": "data/evidence@data.preparation.selector",
    "data/facts": "data/facts@data.preparation.facts",
    "system/generation": "system/generation@system.generator.settings",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "override",
    [
        f"{group}={option}"
        for group in (
            "data",
            "data/training",
            "trainer",
            "callbacks",
            "system",
            "system/model",
            "system/loss",
            "system/noise",
            "system/scheduler",
        )
        for option in options(f"{group}")
        if option != "checkpoint"
    ]
    + [f"system/auxiliary_losses=[{option}]" for option in options("system/auxiliary_losses")]
    + [f"{place}={option}" for group, place in CAPTION_GROUPS.items() for option in options(group)]
    + [f"system/optimizer={option}" for option in options("system/optimizer") if option != "muon"],
)
def test_every_option_of_every_group_binds(override):
    place, option = override.split("=")
    news = option in NEWS or place in CAPTION_GROUPS.values() or option == "paged_adamw_8bit"
    config = compose(f"experiment={'fuser_openevents' if news else 'cir_hotel'}", override)
    checking.check(config, checking.root_keys("train"))


def test_what_training_reads_belongs_to_triplets_alone():
    assert compose("data=[cirr,hotel_cir]").data.training._target_.endswith(".FromFiles")
    assert "training" not in compose("data=newsroom", "system=caption_fuser").data
    assert "training" not in compose("data=newsroom", name="evaluate").data
    with pytest.raises(Exception, match=r"data\.training\.shards"):  # it has no default
        building.build_data(compose("experiment=cir_rooms", "data/training=shards").data)


AUGMENTATIONS = {"crop": ["RandomCropResize"], "colour": ["ColorJitter"]}
AUGMENTATIONS["crop_and_colour"] = AUGMENTATIONS["crop"] + AUGMENTATIONS["colour"]


@pytest.mark.parametrize("option", options("data/augmentation"))
@pytest.mark.parametrize("experiment", ["cir_hotel", "cir_rooms"])  # without one of its own, and with one
def test_every_augmentation_is_one_word(experiment, option):
    config = compose(f"experiment={experiment}", f"+data/augmentation@data.training.augmentation={option}")
    checking.check(config, checking.root_keys("train"))
    built = building.build(config.data.training.augmentation, _convert_="all")
    assert [type(one).__name__ for one in built.augmentations] == AUGMENTATIONS[option]


@pytest.mark.parametrize("option", options("system/metrics"))
def test_every_metric_binds(option):
    checking.check(compose(f"system/metrics@metrics=[{option}]", name="evaluate"), checking.root_keys("evaluate"))


def test_no_experiment_inherits_another():
    for experiment in EXPERIMENTS:
        text = (CONF / "experiment" / f"{experiment}.yaml").read_text()
        defaults = OmegaConf.to_container(OmegaConf.create(text)).get("defaults", [])
        assert all(key.startswith("override ") for item in defaults for key in item), experiment


def test_experiments_open_with_their_command_and_needs():
    for experiment in EXPERIMENTS:
        lines = (CONF / "experiment" / f"{experiment}.yaml").read_text().splitlines()
        assert lines[1] == f"# python train.py experiment={experiment}"
        assert lines[2].startswith("# Needs: ")


def test_switching_the_backbone_switches_the_preprocessing():
    config = compose(
        "experiment=cir_hotel", "system.model.backbone.name=ViT-B-16", "system.model.backbone.pretrained=null"
    )
    assert config.data.preprocessing.name == "ViT-B-16"
    assert config.data.preprocessing.pretrained is None


def test_a_misspelt_key_gets_the_nearest_one():
    config = compose("experiment=cir_rooms", "+system.optimizer.lrr=1")
    with pytest.raises(ValueError, match=r"unknown key 'system.optimizer.lrr'. Did you mean 'system.optimizer.lr'"):
        checking.check(config, checking.root_keys("train"))
    config = compose("experiment=cir_rooms", "+sede=1")
    with pytest.raises(ValueError, match=r"unknown key 'sede'. Did you mean 'seed'"):
        checking.check(config, checking.root_keys("train"))


def test_a_misspelt_override_gets_the_nearest_one(monkeypatch):
    words = ["train.py", "experiment=cir_rooms", "system.optimizer.lrr=1"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(hydra.errors.HydraException) as caught:
        compose(*words[1:])
    message = command_line.explain(caught.value, "train")
    assert "unknown key 'system.optimizer.lrr'" in message
    assert "'system.optimizer.lr'" in message


def test_an_unknown_experiment_lists_those_that_exist():
    with pytest.raises(hydra.errors.HydraException) as caught:
        compose("experiment=cir_room")
    assert "cir_rooms" in command_line.explain(caught.value, "train")


@pytest.mark.parametrize(
    "node",
    [
        {"_target_": "os.system", "command": "true"},
        {"_target_": "torch.hub.load", "repo": "x"},
        {"_target_": "diptych.config.building.build"},
        {"_target_": "diptych.config.building.hydra.utils.instantiate"},
        {"_target_": "torch.nn.Module.load_state_dict"},
        {"_target_": "torch.optim.lr_scheduler.warnings.warn"},
        {"_target_": "lightning.pytorch.cli.LightningCLI"},
        "${oc.decode:'{_target_: os.system, command: true}'}",
        {"_target_": "${oc.decode:'os.system'}", "command": "true"},
    ],
)
def test_a_checkpoints_config_may_only_name_our_classes(node, monkeypatch):
    import os

    monkeypatch.setattr(os, "system", lambda command: pytest.fail("the config ran code"))
    with pytest.raises(ValueError, match="nothing was built|there is no"):
        checking.check_untrusted(OmegaConf.create({"system": {"model": node}}))


def test_a_checkpoints_config_of_ours_is_allowed():
    config = compose("experiment=cir_rooms")
    plain = OmegaConf.create(
        {key: config[key] for key in ("system", "data", "data_dir", "seed")} | {"trainer": {"max_steps": 1}}
    )
    checked = checking.check_untrusted(plain)
    assert checked.system.model.backbone.name == "rooms_small"
    assert checked.data.preprocessing == checked.system.model.backbone.preprocessing


def test_the_conf_folder_holds_nothing_unused():
    groups = {path.relative_to(CONF).parts[0] for path in CONF.rglob("*.yaml") if path.parent != CONF}
    assert {"experiment", "data", "prompt", "system", "trainer", "callbacks", "logger"} <= groups
    named = {name for path in CONF.rglob("*.yaml") for name in groups_of_defaults(path)}
    assert groups - named == set()
    assert {"train.yaml", "evaluate.yaml", "pipeline.yaml"} <= {path.name for path in CONF.glob("*.yaml")}


def groups_of_defaults(path):
    """The first folders of the groups in a file's defaults list: of `override /system/model: x` it is `system`."""
    config = OmegaConf.load(path)
    defaults = OmegaConf.to_container(config).get("defaults", []) if OmegaConf.is_dict(config) else []
    keys = [key for item in defaults if isinstance(item, dict) for key in item]
    return {key.split(" ")[-1].lstrip("/").split("@")[0].split("/")[0] for key in keys}


def test_a_sweep_of_evaluations_starts_no_processes_of_its_own():
    words = ["trainer=ddp_cpu", "trainer.devices=2", "hydra.mode=MULTIRUN"]
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("evaluate", overrides=words, return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    with pytest.raises(ValueError, match="-m with a trainer of 2 processes"):
        building.build_trainer(config.trainer)
    config.trainer.devices = 1
    assert building.build_trainer(config.trainer).world_size == 1


@pytest.mark.slow
@pytest.mark.parametrize("study", options("study"))
def test_every_study_is_planned_with_every_step_composed(study, tmp_path):
    """At its full size; the quick one has fewer steps of the same kinds."""
    planned = plan_study(study, [], False, tmp_path / "study")
    assert planned.study.hypotheses and (planned.study.minutes or needs_of(study, None))
    quick, _, _ = read_study(study, [], True)
    assert quick.hypotheses and len(quick.steps) <= len(planned.study.steps)
    assert (CONF / "study" / f"{study}.yaml").read_text().splitlines()[1].startswith(f"# diptych study {study}")


@pytest.mark.parametrize("study", options("study"))
def test_every_study_says_all_that_a_study_has_to(study):
    """What names arms and steps is looked at where it is planned."""
    content = OmegaConf.to_container(OmegaConf.load(CONF / "study" / f"{study}.yaml"))
    keys = {
        "name",
        "question",
        "hypotheses",
        "metrics",
        "control",
        "seeds",
        "size",
        "quick",
        "limits",
        "minutes",
        "arms",
    }
    assert keys <= set(content) and content["name"] == study
    assert all(one["says"] and one["metric"] in content["metrics"] for one in content["hypotheses"])
    pages = re.findall(r"docs/\w+\.md", str(content.get("needs")))
    assert all((Path(__file__).parents[1] / page).is_file() for page in pages) and bool(pages) is ("needs" in content)

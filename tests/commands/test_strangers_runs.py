"""A run that somebody else began is resumed only as far as a checkpoint's config may go; one's own as before."""

from __future__ import annotations

import functools

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from canary import CODE, watched
from diptych.commands.training import _config_of_run
from diptych.config import folder, resolvers
from each_once import each_once
from tiny_runs import TINY_ROOMS_SIZES

pytestmark = [pytest.mark.models, pytest.mark.hostile("hostile run folders")]

EXPERIMENTS = sorted(path.stem for path in (folder.CONFIG_FOLDER / "experiment").glob("*.yaml"))


def composed(*words):
    resolvers.register_resolvers()
    with initialize_config_dir(str(folder.CONFIG_FOLDER), version_base="1.3"):
        return compose("train", overrides=list(words))


@pytest.fixture(scope="module")
def honest():
    return OmegaConf.to_container(composed("experiment=cir_rooms", *TINY_ROOMS_SIZES))


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/evil_part.py").write_text(CODE + "class Part:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path / "theirs")
    monkeypatch.chdir(tmp_path / "mine")
    monkeypatch.delenv("DIPTYCH_TRUST", raising=False)
    return tmp_path


def run(place, config):
    text = config if isinstance(config, str) else OmegaConf.to_yaml(OmegaConf.create(config))
    (place / "theirs/config.yaml").write_text(text)
    return place / "theirs"


@functools.cache
def command_line(*words):
    """What Hydra makes of these words, its own section included."""
    resolvers.register_resolvers()
    with initialize_config_dir(str(folder.CONFIG_FOLDER), version_base="1.3"):
        return compose("train", overrides=["experiment=cir_rooms", *words], return_hydra_config=True)


def resumed(folder_of_run, words, trusted):
    """The config of the run, resumed with these words."""
    config = command_line(*(word for word in words if word.startswith("trainer.")))
    HydraConfig.instance().set_config(config)
    now = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
    return _config_of_run(folder_of_run, now, words, trusted)


def with_part(config, way, value):
    config = OmegaConf.create(config)
    OmegaConf.update(config, way, value, force_add=True)
    return OmegaConf.to_container(config)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_of_ours_is_resumed_without_a_word(place, experiment, monkeypatch):
    monkeypatch.setattr("diptych.config.model_names._is_here", lambda name: True)  # as where the run was begun
    config = composed(f"experiment={experiment}")
    found = resumed(run(place, OmegaConf.to_container(config)), ["resume=x", "trainer.max_steps=7"], False)
    assert found.trainer.max_steps == 7 and found.data == config.data


TARGETS = [
    "torch.load", "torch.hub.load", "sentence_transformers.SentenceTransformer", "evil_part.Part", "os.system",
    "subprocess.Popen", "lightning.pytorch.Trainer", "diptych.storage.whole.write_file", "", "x",
]  # fmt: skip
SHIPPED = ["diptych.callbacks.status_keeper.StatusKeeper", "diptych.loggers.metrics_csv.MetricsCSV"]
WAYS = [
    "callbacks.x", "logger.x", "trainer", "trainer.strategy", "trainer.plugins", "trainer.profiler", "cluster", "x",
    "system", "system.loss", "data", "data.sources.rooms", "data.noun_phrases", "data.training.augmentation",
]  # fmt: skip
IN_ITS_PLACE = ("trainer", "lightning.pytorch.Trainer")


@pytest.mark.parametrize(("way", "target"), [pair for pair in each_once(WAYS, TARGETS) if pair != IN_ITS_PLACE])
def test_a_class_of_strangers_is_not_built(place, honest, way, target):
    folder_of_run = run(place, with_part(honest, way, {"_target_": target, "repo_or_dir": "x"}))
    with watched(place / "theirs"), pytest.raises(ValueError, match=r"(?s).*trust_run=true"):
        resumed(folder_of_run, [], False)


@pytest.mark.parametrize("target", SHIPPED)
@pytest.mark.parametrize("way", ["callbacks.x", "logger.x"])
def test_what_writes_where_it_is_told_is_no_part_of_a_config(place, honest, way, target):
    part = {"_target_": target, "run_dir": str(place / "mine"), "overrides": [], "active": True}
    part = {"_target_": target, "folder": str(place / "mine")} if "logger" in target else part
    folder_of_run = run(place, with_part(honest, way, part))
    with watched(place / "theirs"), pytest.raises(ValueError, match=r"(?s)is not allowed.*trust_run=true"):
        resumed(folder_of_run, [], False)


def test_a_tracker_sends_nothing_unless_one_says_so_oneself(place, honest, caplog):
    target = "diptych.loggers.wandb_logger.ForgivingWandbLogger"
    sending = with_part(honest, "logger.wandb", {"_target_": target, "folder": "x", "offline": False})
    folder_of_run = run(place, sending)
    assert resumed(folder_of_run, [], False).logger.wandb.offline is True
    assert "logger.wandb.offline is set to true" in caplog.text
    assert resumed(folder_of_run, [], True).logger.wandb.offline is False
    assert resumed(folder_of_run, ["logger.wandb.offline=false"], False).logger.wandb.offline is False


@pytest.mark.parametrize(
    ("way", "value"),
    [
        ("data.sources.rooms.settings.num_train_hotels", 10**9),
        ("data.sources.rooms.settings.num_val_hotels", 10**9),
        ("data.num_workers", 10**6),
        ("data.training.batch_size", 10**9),
        ("trainer.devices", 10**6),
        ("trainer.devices", "100000"),
        ("trainer.devices", list(range(1000))),
    ],
)
def test_more_than_a_machine_has_is_asked_for_by_oneself(place, honest, way, value):
    folder_of_run = run(place, with_part(honest, way, value))
    with watched(place / "theirs"), pytest.raises(ValueError, match=rf"(?s){way}=.*at most.*trust_run=true"):
        resumed(folder_of_run, [], False)


def test_the_owner_may_trust_it(place, honest, monkeypatch):
    folder_of_run = run(place, with_part(honest, "callbacks.x", {"_target_": "evil_part.Part"}))
    assert resumed(folder_of_run, ["trust_run=true"], True).callbacks.x._target_ == "evil_part.Part"
    monkeypatch.setenv("DIPTYCH_TRUST", "evil_part")
    assert resumed(folder_of_run, [], False).callbacks.x._target_ == "evil_part.Part"


@pytest.mark.parametrize(
    "text",
    ["!!python/object/apply:os.system [x]", "{{{{", "- a", "", "a", "[" * 5000, "system: {}", "a: 1\na: 2",
     "system: 1\ndata: 1\ntrainer: 1"],
)  # fmt: skip
@pytest.mark.parametrize("trusted", [True, False])
def test_a_config_that_is_none(place, text, trusted):
    folder_of_run = run(place, text)
    with watched(place / "theirs"), pytest.raises(ValueError, match=r"config\.yaml"):
        resumed(folder_of_run, [], trusted)


@pytest.mark.parametrize("value", ["${oc.env:HOME}", "${now:%Y}", "${oc.decode:x}", "${", "${eval:1}"])
def test_nothing_is_taken_from_the_environment(place, honest, value):
    text = OmegaConf.to_yaml(OmegaConf.create(honest)).replace("name: cir_rooms", f"name: '{value}'")
    assert value in text
    folder_of_run = run(place, text)
    with watched(place / "theirs"), pytest.raises(ValueError, match=r"(?s)config\.yaml.*trust_run=true"):
        resumed(folder_of_run, [], False)


@pytest.mark.parametrize("way", ["data.images.cache", "data.sources.rooms.root", "logger.wandb.folder"])
def test_what_is_written_lies_in_the_run_or_the_users_folders(place, honest, way, caplog):
    if way.startswith("logger"):
        target = "diptych.loggers.wandb_logger.ForgivingWandbLogger"
        honest = with_part(honest, "logger.wandb", {"_target_": target, "name": "x"})
    folder_of_run = run(place, with_part(honest, way, str(place / "elsewhere")))
    found = resumed(folder_of_run, [], False)
    assert OmegaConf.select(found, way) == str(folder_of_run / "elsewhere") and f"{way}={place}" in caplog.text
    (place / "elsewhere/fast-1px-0").mkdir(parents=True)
    for name in ("fast-1px-0/aa", "wandb_id"):
        (place / "elsewhere" / name).write_text("")
    assert OmegaConf.select(resumed(folder_of_run, [], False), way) == str(place / "elsewhere")


def test_a_link_out_of_the_folder(place, honest):
    folder_of_run = run(place, honest)
    (folder_of_run / "checkpoints").symlink_to(place / "mine", target_is_directory=True)
    with pytest.raises(ValueError, match=r"(?s)checkpoints is a link out of .*.*trust_run=true"):
        resumed(folder_of_run, [], False)
    assert resumed(folder_of_run, [], True).name == "cir_rooms"

"""A stranger's checkpoint is opened or refused: it runs nothing, asks nothing, writes in the user's folders alone."""

from __future__ import annotations

import copy
import zipfile

import hydra
import pytest
import torch
import yaml
from omegaconf import OmegaConf

from canary import CODE, watched
from diptych.config import building, folder, resolvers
from diptych.config.trained import build_trained, config_of
from diptych.config.trained_encoder import TrainedEncoder
from diptych.parallel import checkpoints
from each_once import each_once
from tiny_runs import TINY_MODEL, TINY_ROOMS_SIZES, TINY_RUN
from tiny_sets import tiny_set

pytestmark = [pytest.mark.models, pytest.mark.hostile("hostile checkpoints")]


@pytest.fixture(scope="module")
def honest():
    """The plain config and the weights of a tiny run of cir_rooms."""
    resolvers.register_resolvers()
    with hydra.initialize_config_dir(str(folder.CONFIG_FOLDER), version_base="1.3"):
        words = ["experiment=cir_rooms", *TINY_ROOMS_SIZES, *TINY_MODEL, *TINY_RUN]
        config = hydra.compose("train", overrides=words)
    system = building.build(config.system)
    return OmegaConf.to_container(config), system.state_dict()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder of the user's with the set, and a folder of the stranger's."""
    tiny_set("rooms", tmp_path / "mine" / "data" / "rooms")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "evil_part.py").write_text(CODE + "class Part:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path / "theirs")
    monkeypatch.chdir(tmp_path / "mine")
    monkeypatch.delenv("DIPTYCH_TRUST", raising=False)
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    return tmp_path


def written(path, honest, change=lambda config: None, text=None, **content):
    config = copy.deepcopy(honest[0])
    change(config)
    ours = checkpoints.describe(yaml.safe_dump(config, sort_keys=False) if text is None else text)
    torch.save({"state_dict": honest[1], "global_step": 2, checkpoints.KEY: ours, **content}, path)
    return path


def opened(path, data_dir="data"):
    """As evaluate.py opens it, up to the first batch."""
    checkpoint = checkpoints.load(path, weights_alone=True)
    trained = config_of(checkpoint, path, data_dir)
    weights = checkpoints.weights_of(checkpoint, path)
    data, system = build_trained(trained, trained.data, data_dir, weights, path)
    data.prepare_evaluation("test")
    checkpoints.load_weights(system, checkpoint, path)
    next(iter(data.to_test("test").test_dataloader()[0])) if hasattr(data, "to_test") else None
    return trained


def setting(name, value):
    def change(config):
        *way, last = name.split(".")
        node = config
        for key in way:
            node = node[int(key)] if isinstance(node, list) else node.setdefault(key, {})
        node[last] = value

    return change


def part(name, target, **arguments):
    return setting(name, {"_target_": target, **arguments})


def test_an_honest_one_is_opened_as_it_is(honest, place):
    with watched(place / "theirs", place / "mine"):
        opened(written(place / "theirs/a.ckpt", honest))
    assert len(list((place / "mine/data").iterdir())) == 1


FOREIGN = [
    "os.system",
    "subprocess.Popen",
    "builtins.eval",
    "torch.load",
    "torch.hub.load",
    "torch.jit.load",
    "torch.nn.Linear",
    "torch.utils.cpp_extension.load",
    "torch.serialization.load",
    "evil_part.Part",
    "hydra.utils.get_method",
    "hydra._internal.utils._locate",
    "sentence_transformers.SentenceTransformer",
    "transformers.pipeline",
    "importlib.import_module",
    "pathlib.Path.write_text",
    "diptych.loggers.wandb_logger.ForgivingWandbLogger",
    "diptych.loggers.metrics_csv.MetricsCSV",
    "diptych.models.server.vlm_client.VLMClient",
    "diptych.annotation.askers.local.LocalAsker",
    "diptych.storage.whole.write_file",
    "diptych.commands.export.export",
    "diptych.models.composers.composed_model.torch",
    "diptych.config.trained_encoder.TrainedEncoder",
    "diptych.data.triplets.shard_writing.write_shards",
    "lightning.pytorch.Trainer",
    "",
    ".",
    "..",
    "diptych",
    "diptych.losses",
    "diptych..losses.info_nce.InfoNCE",
    "diptych.losses.__builtins__",
]


@pytest.mark.parametrize(
    ("where", "target"),
    each_once(["system.loss", "system.model.backbone", "data.sources.rooms", "system.extra"], FOREIGN),
)
def test_each_place_takes_classes_of_its_kind(honest, place, where, target):
    path = written(place / "theirs/a.ckpt", honest, part(where, target, folder=str(place / "theirs/w")))
    with (
        watched(place / "theirs", place / "mine"),
        pytest.raises(ValueError, match=r"a\.ckpt|nothing was built|unknown key"),
    ):
        opened(path)


@pytest.mark.parametrize(
    ("where", "target"),
    [
        ("system.loss", "diptych.losses.info_nce.nn"),
        ("system.loss", "diptych.metrics.captions.length.Length"),
        ("system.metrics.recall_at_k", "diptych.losses.info_nce.InfoNCE"),
        ("system.optimizer", "diptych.losses.info_nce.InfoNCE"),
        ("data.images", "diptych.data.triplets.from_files.FromFiles"),
        ("data.sources.rooms", "diptych.loggers.metrics_csv.MetricsCSV"),
        ("data", "diptych.data.triplets.hotel_cir.HotelCIR"),
        ("system", "diptych.losses.info_nce.InfoNCE"),
    ],
)
def test_a_class_of_another_kind_is_refused(honest, place, where, target):
    path = written(place / "theirs/a.ckpt", honest, part(where, target))
    with (
        watched(place / "theirs", place / "mine"),
        pytest.raises(ValueError, match="nothing was built|unknown key|kind"),
    ):
        opened(path)


INTERPOLATIONS = [
    "${oc.env:SECRET_TOKEN}",
    "${oc.env:SECRET_TOKEN,x}",
    "a${oc.env:SECRET_TOKEN}b",
    "${oc.env:HOME}/elsewhere",
    "${oc.decode:${oc.env:SECRET_TOKEN}}",
    "${oc.create:{_target_:os.system}}",
    "${oc.dict.keys:system}",
    "${oc.select:${name}}",
    "${now:%Y}",
    "${run_dir:train}",
    "${files_of:x,y}",
    "${overridden:data}",
    "${hydra:runtime.cwd}",
    "${eval:1}",
    "\\${oc.env:SECRET_TOKEN}",
    "${",
    "${}",
    "${.name}${",
    "${oc.env:DIPTYCH_DATA,${oc.env:SECRET_TOKEN}}",
]


@pytest.mark.parametrize(
    ("where", "value"),
    each_once(["name", "data.sources.rooms.root", "system.model.backbone.name", "hydra.x", "seed"], INTERPOLATIONS),
)
def test_nothing_is_taken_from_the_environment(honest, place, where, value):
    path = written(place / "theirs/a.ckpt", honest, setting(where, value))
    with (
        watched(place / "theirs", place / "mine"),
        pytest.raises(ValueError, match=r"a\.ckpt.*nothing was built") as told,
    ):
        opened(path)
    assert "hunter2" not in str(told.value)


def test_a_variable_that_the_user_trusts_is_read(honest, place, monkeypatch):
    monkeypatch.setenv("DIPTYCH_TRUST", "env:SECRET_TOKEN")
    path = written(place / "theirs/a.ckpt", honest, setting("name", "${oc.env:SECRET_TOKEN}"))
    assert opened(path).name == "hunter2"


def doubling(config):
    config["a0"] = "x" * 100
    for number in range(60):
        config[f"a{number + 1}"] = f"${{a{number}}}${{a{number}}}"
    config["name"] = "${a60}"


def doubling_lists(config):
    config["a0"] = ["x"] * 10
    for number in range(60):
        config[f"a{number + 1}"] = [f"${{a{number}}}", "${.0}", f"${{oc.select:a{number},null}}"]
    config["name"] = "${a60}"


def chain(config):
    for number in range(3000):
        config[f"a{number}"] = f"${{a{number + 1}}}"


def ring(config):
    config["name"], config["other"] = "${other}", "${name}"


@pytest.mark.parametrize("change", [doubling, doubling_lists, chain, ring])
def test_settings_that_name_each_other_end(honest, place, change):
    path = written(place / "theirs/a.ckpt", honest, change)
    with watched(place / "theirs", place / "mine"), pytest.raises(ValueError, match=r"a\.ckpt.*nothing was built"):
        opened(path)


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['touch theirs.ran']",
        "name: !!python/object/new:os.system [x]",
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(12)),
        "[" * 5000 + "]" * 5000,
        "{{{{",
        "- a\n- b",
        "just a text",
        "",
        "null",
        "a: 1\na: 2",
        "\x00",
        "a: \ud83d".encode("utf-8", "surrogatepass").decode("utf-8", "replace"),
        "system: 3\ndata: []\n",
        "system: {}\ndata: {}\n",
        "system: {_target_: diptych.systems.cir.CIRSystem}\ndata: null\nseed: 0\ntrainer: {max_steps: 1}",
    ],
)
def test_a_config_that_is_none(honest, place, text):
    path = written(place / "theirs/a.ckpt", honest, text=text)
    with watched(place / "theirs", place / "mine"), pytest.raises(ValueError, match=r"."):
        opened(path)


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": []},
        {"state_dict": None},
        {"state_dict": "weights"},
        {"state_dict": {1: torch.zeros(1)}},
        {"state_dict": {"a": [1]}},
        {"state_dict": {"a": torch.zeros(2).to_sparse()}},
        {"state_dict": {"a": torch.zeros(1).expand(10**12)}},
        {"state_dict": {f"a{n}": torch.zeros(1000)[0:999] if n else torch.zeros(1) for n in range(3)}},
        {checkpoints.KEY: None},
        {checkpoints.KEY: []},
        {checkpoints.KEY: {"format": 3}},
        {checkpoints.KEY: {"format": [3], "config": ""}},
        {checkpoints.KEY: {"format": 3, "config": 4}},
        {checkpoints.KEY: {"format": 10**400, "config": ""}},
    ],
)
def test_forms_of_no_checkpoint_name_the_file(honest, place, content):
    path = written(place / "theirs/a.ckpt", honest, **content)
    with watched(place / "theirs", place / "mine"), pytest.raises(ValueError, match=r"a\.ckpt"):
        opened(path)


def test_without_weights(honest, place):
    path = place / "theirs/a.ckpt"
    torch.save({checkpoints.KEY: checkpoints.describe(yaml.safe_dump(honest[0]))}, path)
    with pytest.raises(ValueError, match=r"a\.ckpt: this checkpoint holds no weights"):
        opened(path)
    with pytest.raises(ValueError, match=r"a\.ckpt: this checkpoint holds no weights"):
        TrainedEncoder(path).load()


@pytest.mark.parametrize(
    ("key", "value"),
    [("global_step", None), ("global_step", "3"), ("global_step", -1), ("loops", []), ("optimizer_states", 3)],
)
def test_a_training_goes_on_from_whole_checkpoints_only(honest, place, key, value):
    whole = {"loops": {}, "callbacks": {}, "optimizer_states": [], "lr_schedulers": [], "epoch": 0}
    path = written(place / "theirs/whole.ckpt", honest, **whole)
    assert checkpoints.step_of(checkpoints.load(path), path) == 2
    path = written(place / "theirs/a.ckpt", honest, **{**whole, key: value})
    with pytest.raises(ValueError, match=rf"a\.ckpt: no training can go on from it: its {key} is a"):
        checkpoints.step_of(checkpoints.load(path), path)


def test_an_archive_that_unpacks_to_anything(honest, place):
    path = written(place / "theirs/a.ckpt", honest)
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(place / "theirs/b.ckpt", "w", zipfile.ZIP_DEFLATED) as packed:
        for info in whole.infolist():
            packed.writestr(info.filename, whole.read(info))
    with pytest.raises(ValueError, match=r"b\.ckpt: .*compressed"):
        checkpoints.load(place / "theirs/b.ckpt")


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("system.model.backbone.architecture.text_cfg.vocab_size", 10**9),
        ("system.model.backbone.architecture.text_cfg.layers", 10**6),
        ("system.model.backbone.architecture.text_cfg.context_length", 10**6),
        ("system.model.backbone.architecture.vision_cfg.width", 10**6 * 16),
        ("system.model.backbone.architecture.vision_cfg.layers", 10**9),
        ("system.model.backbone.architecture.vision_cfg.image_size", 10**6),
        ("system.model.backbone.architecture.vision_cfg.patch_size", 10**6),
        ("system.model.backbone.architecture.vision_cfg.mlp_ratio", 1e12),
        ("system.model.backbone.architecture.embed_dim", 10**12),
        ("system.model.num_layers", 10**9),
        ("system.model.feed_forward_ratio", 1e15),
        ("data.num_workers", 10**6),
    ],
)
def test_a_model_is_no_larger_than_its_weights(honest, place, where, value):
    path = written(place / "theirs/a.ckpt", honest, setting(where, value))
    with watched(place / "theirs", place / "mine"), pytest.raises(ValueError, match=r"."):
        opened(path)


@pytest.mark.parametrize(
    ("where", "argument"),
    [("data.images", "cache"), ("data.training", "feature_cache"), ("data.sources.rooms", "root")],
)
@pytest.mark.parametrize("how", ["absolute", "upwards", "through data_dir"])
def test_what_is_written_lies_in_the_users_folders(honest, place, where, argument, how, caplog):
    value = {
        "absolute": str(place / "elsewhere"),
        "upwards": "../elsewhere",
        "through data_dir": "${data_dir}/../../elsewhere",
    }[how]
    change = setting(f"{where}.{argument}", value)
    if argument == "feature_cache":
        change = part("data.training", "diptych.data.triplets.from_features.FromFeatures", feature_cache=value)
    path = written(place / "theirs/a.ckpt", honest, change)
    (place / "mine/data/rooms").rename(place / "mine/data/elsewhere")  # or the set would be drawn
    (place / "mine/data/rooms").symlink_to("elsewhere")
    with watched(place / "theirs", place / "mine"):
        opened(path)
    assert not (place / "elsewhere").exists()
    assert f"{where}.{argument}={OmegaConf.create({'data_dir': 'data', 'v': value}).v!s}" in caplog.text


def test_a_cache_that_was_used_before_is_used_again(honest, place, caplog):
    (place / "fast/fast-32px-00000000/aa").mkdir(parents=True)
    path = written(place / "theirs/a.ckpt", honest, setting("data.images.cache", str(place / "fast")))
    assert opened(path).data.images.cache == str(place / "fast") and not caplog.text


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped", "a/b", "..", ".", "", "a\nb", "x" * 300, "a\\b"])
def test_names_of_sets_stay_in_their_folder(honest, place, name):
    def change(config):
        config["data"]["sources"] = {name: config["data"]["sources"]["rooms"]}

    path = written(place / "theirs/a.ckpt", honest, change)
    with (
        watched(place / "theirs", place / "mine"),
        pytest.raises(ValueError, match="cannot be the name of a folder|is no key|not allowed"),
    ):
        opened(path)


NAMES = [
    "local-dir:{}",
    "hf-hub:{}",
    "local-dir:",
    "LOCAL-DIR:{}",
    "hf-hub:evil/model",
    "{}",
    "../theirs",
    "a/b",
    "timm/x",
]


@pytest.fixture
def model_folder(place):
    """As the finding: its tokenizer's settings want the code beside it."""
    import json

    model = place / "theirs/model"
    model.mkdir()
    kwargs = {"trust_remote_code": True}
    text = {"hf_tokenizer_name": "x", "tokenizer_kwargs": kwargs, "context_length": 77, "vocab_size": 10}
    vision = {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1}
    config = {"model_cfg": {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}, "preprocess_cfg": {}}
    (model / "open_clip_config.json").write_text(json.dumps(config))
    auto = {"auto_map": {"AutoTokenizer": ["evil_tokenizer.Evil", None]}, "tokenizer_class": "Evil"}
    (model / "tokenizer_config.json").write_text(json.dumps(auto))
    (model / "evil_tokenizer.py").write_text(CODE + "class Evil:\n    pass\n")
    return model


@pytest.mark.parametrize("name", NAMES)
def test_a_backbone_is_one_of_the_registry(honest, place, model_folder, name):
    def change(config):
        backbone = config["system"]["model"]["backbone"]
        backbone["name"], backbone["architecture"] = name.format(model_folder), None

    path = written(place / "theirs/a.ckpt", honest, change)
    with watched(place / "theirs", place / "mine"), pytest.raises(ValueError, match="is not an open_clip model"):
        opened(path)
    with watched(place / "theirs", place / "mine"), pytest.raises(ValueError, match="is not an open_clip model"):
        TrainedEncoder(path).load()


@pytest.mark.parametrize("name", ["hf-hub:evil/model", "local-dir:{}", "evil/model"])
def test_a_tower_of_timm_is_one_of_its_own(honest, place, model_folder, name):
    change = setting("system.model.backbone.architecture.vision_cfg.timm_model_name", name.format(model_folder))
    path = written(place / "theirs/a.ckpt", honest, change)
    with watched(place / "theirs", place / "mine"), pytest.raises(ValueError, match="timm_model_name"):
        opened(path)


@pytest.mark.parametrize("name", NAMES)
def test_a_metrics_model_is_one_of_the_registry(honest, place, model_folder, name):
    scorer = {"_target_": "diptych.metrics.captions.clip_scorer.ClipScorer", "name": name.format(model_folder)}
    change = part("system.metrics.clip_score", "diptych.metrics.captions.clip_score.CLIPScore", scorer=scorer)
    path = written(place / "theirs/a.ckpt", honest, change)
    with watched(place / "theirs", place / "mine"), pytest.raises(ValueError, match="open_clip's own list"):
        opened(path)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("system.model.num_layers", "many"),
        ("system.model.num_layers", [1]),
        ("system.model.num_layers", None),
        ("system.model.num_heads", 0),
        ("system.model.num_heads", -1),
        ("system.model.backbone.name", 7),
        ("system.model.backbone.architecture", 7),
        ("system.model.backbone.architecture", {}),
        ("system.model.backbone.architecture.embed_dim", "x"),
        ("system.model.backbone.freeze", ["all"]),
        ("system.model.unknown", 1),
        ("system.loss._args_", [1]),
        ("data.sources", "rooms"),
        ("data.sources.rooms", "x"),
        ("data.sources.rooms.settings.num_test_hotels", "x"),
        ("data.evaluate_on", ["nothing"]),
        ("data.evaluation.batch_size", "x"),
        ("data.images.decoder", 3),
        ("seed", {"a": 1}),
        ("trainer", None),
        ("trainer.max_steps", "x"),
    ],
)
def test_settings_of_another_kind_are_named(honest, place, where, value):
    path = written(place / "theirs/a.ckpt", honest, setting(where, value))
    with watched(place / "theirs", place / "mine"), pytest.raises(ValueError, match=r"."):
        opened(path)

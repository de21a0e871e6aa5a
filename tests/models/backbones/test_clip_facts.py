"""A file of weights must give what the same weights give by their tag, or be refused before anything is computed."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import pytest
import torch
from omegaconf import OmegaConf
from open_clip.transform import PreprocessCfg

from diptych.config import building
from diptych.config.earlier_configs import upgraded
from diptych.contracts.models import ImageSpec
from diptych.metrics.captions import clip_scorer
from diptych.metrics.captions.clip_scorer import ClipScorer
from diptych.models.backbones import clip_facts as facts_of_files
from diptych.models.backbones.clip import CLIPBackbone, CLIPPreprocessing
from diptych.models.backbones.clip_encoder import CLIPEncoder

NAME, TAG = "tiny-clip", "own"
ARCHITECTURE = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}
PICTURES = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bilinear", "resize_mode": "squash"}
ENTRY = {"url": "https://nowhere/x.safetensors", **PICTURES, "quick_gelu": True}
SPEC = ImageSpec(32, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bilinear", "squash")
OTHER = {"url": "https://nowhere/y.safetensors", **PICTURES, "std": [0.9, 0.9, 0.9], "resize_mode": "shortest"}


@pytest.fixture
def registry(monkeypatch, tmp_path):
    """A model of the registry with two tags that agree on nothing but mean and interpolation; and its weights."""
    torch.manual_seed(3)
    weights = open_clip.CLIP(**ARCHITECTURE, quick_gelu=True).state_dict()  # as they are published
    path = tmp_path / "weights.pt"
    torch.save(weights, path)
    configs = {NAME: ARCHITECTURE, f"{NAME}-quickgelu": {**ARCHITECTURE, "quick_gelu": True}}
    tags = {(NAME, TAG): ENTRY, (NAME, "other"): OTHER, (f"{NAME}-quickgelu", TAG): ENTRY}
    asked = open_clip.factory._MODEL_CONFIGS
    for name, config in configs.items():
        monkeypatch.setitem(asked, name, config)
        found = {tag: entry for (model, tag), entry in tags.items() if model == name}
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, name, found)
    for module in (open_clip.factory, facts_of_files, clip_module()):
        if hasattr(module, "download_pretrained"):
            monkeypatch.setattr(module, "download_pretrained", lambda *_, **__: str(path))
    clip_scorer._loaded.cache_clear()
    return path


def clip_module():
    from diptych.models.backbones import clip

    return clip


def encoder(name: str, pretrained: str, activation: str | None = None, **given) -> CLIPEncoder:
    preprocessing = CLIPPreprocessing(name, pretrained, **given)
    return CLIPEncoder(CLIPBackbone(name, preprocessing, pretrained, activation=activation))


def embedded(found: CLIPEncoder) -> torch.Tensor:
    found.load()
    picture = torch.randint(0, 256, (3, 40, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return torch.cat([found.embed_images(found.transform(picture)[None]), found.embed_texts(["A  red Lamp"])])


def describe(path: Path, content: dict, name: str = "open_clip_config.json") -> None:
    (path.parent / name).write_text(json.dumps(content))


WHOLE = {"model_cfg": {**ARCHITECTURE, "quick_gelu": True}, "preprocess_cfg": PICTURES}


def test_a_description_beside_the_file_gives_what_the_tag_gives(registry):
    by_tag = embedded(encoder(NAME, TAG))
    describe(registry, WHOLE)
    by_file = encoder(NAME, str(registry))
    assert by_file.backbone.preprocessing.image == SPEC
    assert torch.equal(embedded(by_file), by_tag)
    wrong = {"mean": PICTURES["mean"], "std": PICTURES["std"], "interpolation": "bilinear", "resize": "squash"}
    assert not torch.allclose(embedded(encoder(NAME, str(registry), activation="gelu", **wrong)), by_tag, atol=1e-5)


def test_settings_give_it_too(registry):
    given = {"mean": PICTURES["mean"], "std": PICTURES["std"], "interpolation": "bilinear", "resize": "squash"}
    by_file = encoder(NAME, str(registry), activation="quick_gelu", **given)
    assert torch.equal(embedded(by_file), embedded(encoder(NAME, TAG)))


def test_transformers_descriptions_give_it_too(registry):
    describe(registry, {"model_type": "clip", "vision_config": {"hidden_act": "quick_gelu"}}, "config.json")
    pictures = {"image_mean": PICTURES["mean"], "image_std": PICTURES["std"], "resample": 2, "do_center_crop": False}
    describe(registry, pictures, "preprocessor_config.json")
    assert torch.equal(embedded(encoder(NAME, str(registry))), embedded(encoder(NAME, TAG)))


SIDE = ARCHITECTURE["vision_cfg"]["image_size"]


@pytest.mark.parametrize(
    ("pictures", "resize"),
    [
        (
            {"size": {"shortest_edge": SIDE}, "do_center_crop": True, "crop_size": {"height": SIDE, "width": SIDE}},
            "shortest",
        ),
        ({"size": SIDE, "do_center_crop": True, "crop_size": SIDE, "rescale_factor": 1 / 255}, "shortest"),
        ({"size": {"height": SIDE, "width": SIDE}, "do_center_crop": True}, "squash"),
        ({"size": {"height": SIDE, "width": SIDE}}, "squash"),
        ({"do_center_crop": False}, "squash"),
    ],
)
def test_how_transformers_makes_squares_is_followed(registry, pictures, resize):
    named = {"image_mean": PICTURES["mean"], "image_std": PICTURES["std"], "resample": 2}
    describe(registry, named | pictures, "preprocessor_config.json")
    assert CLIPPreprocessing(NAME, str(registry)).image.resize == resize
    describe(registry, named | pictures | {"do_normalize": False}, "preprocessor_config.json")
    assert CLIPPreprocessing(NAME, str(registry)).image.std == (1.0, 1.0, 1.0)


@pytest.mark.hostile("hostile models")
@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        ({"size": {"shortest_edge": 2 * SIDE}, "do_center_crop": True}, "choose a model of the same size"),
        ({"size": SIDE, "do_center_crop": True, "crop_size": SIDE // 2}, "choose a model of the same size"),
        ({"size": {"height": SIDE, "width": 2 * SIDE}}, "choose a model of the same size"),
        ({"size": "large", "do_center_crop": True}, "choose a model of the same size"),
        ({"rescale_factor": 1 / 127.5, "do_center_crop": True}, "rescale_factor"),
        ({"do_rescale": False, "do_center_crop": True}, "do_rescale"),
        ({"do_resize": False, "do_center_crop": True}, "do_resize"),
        ({"size": {"shortest_edge": SIDE}}, "set resize=shortest or squash"),
        ({"size": {"shortest_edge": SIDE}, "do_center_crop": False}, "set resize=shortest or squash"),
    ],
)
def test_transformers_pictures_that_are_none_of_the_models_are_refused(registry, pictures, message):
    named = {"image_mean": PICTURES["mean"], "image_std": PICTURES["std"], "resample": 2}
    describe(registry, named | pictures, "preprocessor_config.json")
    with pytest.raises(ValueError, match=message):
        CLIPPreprocessing(NAME, str(registry))


@pytest.mark.hostile("hostile models")
def test_transformers_models_of_another_size_are_refused(registry):
    describe(registry, {"model_type": "clip", "vision_config": {"image_size": 2 * SIDE}}, "config.json")
    with pytest.raises(ValueError, match="config.json: its pictures have .* choose a model of the same sizes"):
        CLIPPreprocessing(NAME, str(registry))


def test_a_name_whose_weights_are_all_alike_gives_it_too(registry):
    assert torch.equal(embedded(encoder(f"{NAME}-quickgelu", str(registry))), embedded(encoder(NAME, TAG)))


def test_where_nothing_says_it_it_is_asked_for(registry):
    with pytest.raises(ValueError) as asked:
        CLIPPreprocessing(NAME, str(registry))
    assert all(
        word in str(asked.value) for word in ("std=[R,G,B]", "resize=shortest or squash", "open_clip_config.json")
    )
    assert "mean=" not in str(asked.value) and "interpolation=" not in str(asked.value)  # all weights agree on these
    described = CLIPPreprocessing(NAME, TAG)
    with pytest.raises(
        ValueError, match=r"^pretrained='.*' is a file .*: set activation=quick_gelu, as OpenAI's have, or"
    ):
        CLIPBackbone(NAME, described, str(registry))
    with pytest.raises(ValueError, match=r"set activation=.*The registry has of ViT-B-32: .*openai"):
        CLIPBackbone("ViT-B-32", described, "/models/ViT-B-32-openai.safetensors")
    with pytest.raises(ValueError, match="pretrained='opanai' is neither a file nor a tag of ViT-B-32 \\(.*openai"):
        CLIPBackbone("ViT-B-32", described, "opanai")
    assert CLIPPreprocessing("ViT-B-32", "/models/x.pt").image == CLIPPreprocessing("ViT-B-32", "openai").image
    siglip = CLIPPreprocessing("ViT-B-16-SigLIP", "/models/x.safetensors").image
    assert siglip == CLIPPreprocessing("ViT-B-16-SigLIP", "webli").image and siglip.resize == "squash"


@pytest.mark.hostile("hostile models")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {**WHOLE, "model_cfg": {**ARCHITECTURE, "vision_cfg": {"image_size": 64}}},
            "vision_cfg.image_size is 64 there, ",
        ),
        (
            {**WHOLE, "model_cfg": {"text_cfg": {"tokenizer_kwargs": {"clean": "canonicalize"}}}},
            "text_cfg.tokenizer_kwargs is {'clean': 'canonicalize'} there, and None",
        ),
        ([], "expected a JSON object that describes a model"),
        ({"preprocess_cfg": []} | {"model_cfg": 3}, "'model_cfg' must be an object"),
        ({"preprocess_cfg": {"mean": [0.1, 0.2]}}, "open_clip_config.json: mean .0.1, 0.2. is none that this version"),
        ({"preprocess_cfg": {"std": [0, 0, 0]}}, "std .0, 0, 0. is none"),
        ({"preprocess_cfg": {"interpolation": "nearest"}}, "interpolation 'nearest' is none"),
        ({"preprocess_cfg": {"resize_mode": {}}}, "resize {} is none"),
    ],
)
def test_a_description_that_fits_not_is_refused(registry, content, message):
    describe(registry, content)
    with pytest.raises(ValueError, match=message):
        CLIPPreprocessing(NAME, str(registry))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mean": [1, 2]}, r"mean=\[1, 2\] is not three numbers"),
        ({"std": [0, 1, 1]}, r"std=\[0, 1, 1\] is not three numbers"),
        ({"resize": "crop"}, "resize='crop' is not one of shortest, squash"),
        ({"interpolation": 3}, "interpolation=3 is not one of bicubic, bilinear"),
    ],
)
def test_settings_that_are_none_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        CLIPPreprocessing("ViT-B-32", "openai", **given)


def config(pretrained: str, **backbone) -> OmegaConf:
    node = {
        "_target_": "diptych.models.backbones.clip.CLIPBackbone",
        "name": NAME,
        "pretrained": pretrained,
        "preprocessing": {
            "_target_": "diptych.models.backbones.clip.CLIPPreprocessing",
            "name": "${..name}",
            "pretrained": "${..pretrained}",
        },
        **backbone,
    }
    return OmegaConf.create({"system": {"model": {"backbone": node}}})


def test_a_config_keeps_what_was_found_so_that_a_checkpoint_needs_no_file(registry):
    describe(registry, WHOLE)
    kept = config(str(registry))
    building.settle(kept, "system")
    backbone = kept.system.model.backbone
    assert backbone.activation == "quick_gelu" and backbone.pretrained == str(registry)
    assert backbone.preprocessing.resize == "squash" and list(backbone.preprocessing.mean) == PICTURES["mean"]
    trained = encoder(NAME, TAG)
    by_tag = embedded(trained)
    (registry.parent / "open_clip_config.json").unlink()
    registry.unlink()
    found = CLIPEncoder(building.build(upgraded(kept).system.model.backbone)).eval()
    found.load_state_dict(trained.state_dict())
    found.load = lambda: None
    assert torch.equal(embedded(found), by_tag)
    plain = config(TAG)
    building.settle(plain, "system")
    assert plain == config(TAG)
    with pytest.raises(ValueError, match=r"^system.model.backbone: pretrained='.*weights.pt' is a file of weights"):
        building.settle(config(str(registry)), "system")


def test_checkpoints_that_kept_nothing_go_on_as_they_were_trained():
    old = upgraded(config("/gone/weights.pt", name="ViT-B-32")).system.model.backbone
    defaults = PreprocessCfg()
    assert old.activation == "gelu" and tuple(old.preprocessing.mean) == defaults.mean
    assert (old.preprocessing.interpolation, old.preprocessing.resize) == ("bicubic", "shortest")
    assert upgraded(config("/gone/w.pt", name="ViT-B-32-quickgelu")).system.model.backbone.activation == "quick_gelu"
    for kept in (config("openai", name="ViT-B-32"), config("/gone/weights.pt", activation="quick_gelu")):
        assert upgraded(kept) == kept


def test_the_scorer_of_captions_keeps_the_same_rule(registry):
    texts = ["a lamp", "two red chairs"]
    by_tag = ClipScorer(NAME, TAG).text_features(texts)
    with pytest.raises(ValueError, match="nothing says what no tensor tells: set activation=.*std="):
        ClipScorer(NAME, str(registry)).text_features(texts)
    told = ClipScorer(NAME, str(registry), activation="quick_gelu", std=[0.4, 0.5, 0.6], resize="squash")
    assert (told.text_features(texts) == by_tag).all() and hash(told)
    assert told.describe().endswith("quick_gelu")
    with pytest.raises(ValueError, match="set activation="):
        ClipScorer.settled({"pretrained": str(registry), "name": NAME})
    assert ClipScorer.settled({}) == {}
    describe(registry, WHOLE)
    assert (ClipScorer(NAME, str(registry)).text_features(texts) == by_tag).all()
    assert ClipScorer.settled({"pretrained": str(registry), "name": NAME})["resize"] == "squash"


def test_an_architecture_says_how_its_texts_are_cleaned():
    def ids(clean):
        text = {**ARCHITECTURE["text_cfg"], **({"tokenizer_kwargs": {"clean": clean}} if clean else {})}
        return CLIPPreprocessing("own", architecture={**ARCHITECTURE, "text_cfg": text}).tokenize(["A lamp, red."])

    expected = open_clip.SimpleTokenizer(clean="canonicalize")(["A lamp, red."])
    assert ids("canonicalize").input_ids[0].tolist() == [n for n in expected[0].tolist() if n]
    assert ids("canonicalize").input_ids.shape != ids(None).input_ids.shape
    for wrong in ({"tokenizer_kwargs": {"bpe_path": "/etc/passwd"}}, {"hf_tokenizer_name": "other/words"}):
        with pytest.raises(ValueError, match=r"only tokenizer_kwargs\.clean can be set"):
            CLIPPreprocessing("own", architecture={**ARCHITECTURE, "text_cfg": {**ARCHITECTURE["text_cfg"], **wrong}})

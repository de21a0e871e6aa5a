"""A pretrained backbone is scored without a checkpoint, from a file of transformers' names too."""

from __future__ import annotations

import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from tiny_runs import TINY_ROOMS_SIZES, run_evaluate

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("data")  # where the rooms are generated


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Of a random CLIPModel for pictures of 32 pixels, config.json beside them."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = sizes | {"image_size": 32, "patch_size": 16}
    model = CLIPModel(CLIPConfig(vision_config=vision, text_config=sizes, projection_dim=16))
    folder = tmp_path_factory.mktemp("clip")
    model.save_pretrained(folder)
    return folder / "model.safetensors"


def words(data, pretrained, model="sum"):
    facts = ["mean=[0.5,0.5,0.5]", "std=[0.5,0.5,0.5]", "interpolation=bicubic", "resize=shortest"]
    return [
        *("system=zero_shot", f"system/model={model}", "system/model/backbone=rooms_small"),
        f"system.model.backbone.pretrained={pretrained}",
        "system.model.backbone.architecture.vision_cfg={image_size:32,patch_size:16,width:32,layers:1,head_width:16}",
        "system.model.backbone.architecture.text_cfg={context_length:77,vocab_size:49408,width:32,heads:2,layers:1}",
        "system.model.backbone.architecture.embed_dim=16",
        *(f"+system.model.backbone.preprocessing.{fact}" for fact in facts),
        *("data=rooms", "split=test", f"data_dir={data}", "data.num_workers=0", *TINY_ROOMS_SIZES),
        *("trainer=cpu", "trainer.precision=32-true", "trainer.enable_progress_bar=false"),
    ]


def test_a_backbone_without_training_finds_what_its_baselines_find(data, weights, tmp_path):
    records = {model: run_evaluate(tmp_path / model, *words(data, weights, model)) for model in ("sum", "text_only")}
    for model, record in records.items():
        metrics = record["metrics"]
        assert record["experiment"] == "zero_shot" and record["checkpoint"] == f"rooms_small, {weights}"
        assert record["queries"]["scored"] == record["queries"]["expected"] > 0
        assert metrics["median_rank"] == metrics[f"{model}/median_rank"]
        assert (tmp_path / model / "report/index.html").is_file()
    assert records["sum"]["metrics"]["median_rank"] != records["text_only"]["metrics"]["median_rank"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "system/model=context",
            r"system.model has weights that come with no backbone \(fusion..*, .*system/model=sum",
        ),
        ("system.model.backbone.pretrained=null", "pretrained=null: name weights"),
        ("data=checkpoint", "an untrained system is scored on named data: add data=circo split=val"),
        ("prompt=short", "prompt says how a checkpoint writes captions: an untrained system has none"),
        ("metrics=[median_rank]", r"choose system/metrics=\[...\]"),
        ("system.model.kinds=sum", "kinds"),
    ],
)
def test_what_an_untrained_system_cannot_be_asked_is_refused(word, message, data, weights, tmp_path):
    given = [one for one in words(data, weights) if one.split("=")[0] != word.split("=")[0]]
    if word == "data=checkpoint":
        given = [one for one in given if not one.startswith("data.")]
    if word.startswith("system.model.kinds"):
        word = f"+{word}"
    with pytest.raises(Exception, match=message):
        run_evaluate(tmp_path / "run", *given, word)

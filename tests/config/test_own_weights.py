"""A folder of CLIP weights in the place of a checkpoint becomes settings; what is something else is sent on."""

from __future__ import annotations

import json

import pytest
import torch
from omegaconf import OmegaConf

from diptych.config.command_line import composed
from diptych.config.own_weights import with_own_weights
from diptych.storage.weights_files import kind_of
from tiny_clips import save_open_clip, save_transformers_clip


def settings(command, *words):
    """The backbone's section of the composed command."""
    return OmegaConf.select(composed(command, with_own_weights(command, words)), "system.model.backbone")


def test_words_without_weights_stay_as_they_are(tmp_path):
    words = ["ckpt=runs/x/latest", "data=rooms"]
    assert with_own_weights("evaluate", words) == words
    assert with_own_weights("pipeline", [f"ckpt={tmp_path}"]) == [f"ckpt={tmp_path}"]


def test_the_sizes_come_from_the_description(tmp_path):
    folder = tmp_path / "a clip, mine"
    save_transformers_clip(folder, "gelu")
    found = settings("evaluate", f"ckpt='{folder}'", "data=rooms", "split=test")
    assert found.pretrained == str(folder / "model.safetensors") and found.name == "a_clip__mine"
    vision, text = found.architecture.vision_cfg, found.architecture.text_cfg
    assert (vision.width, vision.layers, vision.head_width, vision.mlp_ratio) == (32, 2, 16, 3.0)
    assert (text.width, text.layers, text.heads, text.vocab_size) == (32, 2, 2, 49408)
    assert found.architecture.quick_gelu is False and found.architecture.embed_dim == 16
    assert found.preprocessing.architecture == found.architecture and found.preprocessing.tokenizer == "transformers"


def test_defaults_of_transformers_fill_what_a_description_leaves_out(tmp_path):
    from transformers import CLIPConfig

    save_transformers_clip(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    found, theirs = settings("evaluate", f"ckpt={tmp_path}").architecture, CLIPConfig()
    assert found.vision_cfg.width == theirs.vision_config.hidden_size
    assert found.vision_cfg.mlp_ratio * found.vision_cfg.width == theirs.vision_config.intermediate_size
    assert found.vision_cfg.width // found.vision_cfg.head_width == theirs.vision_config.num_attention_heads
    assert found.vision_cfg.patch_size == theirs.vision_config.patch_size
    assert found.text_cfg.heads == theirs.text_config.num_attention_heads
    assert found.text_cfg.context_length == theirs.text_config.max_position_embeddings
    assert found.quick_gelu is (theirs.vision_config.hidden_act == "quick_gelu")
    assert found.embed_dim == theirs.projection_dim


def test_a_model_of_open_clips_list_is_called_by_its_name(tmp_path):
    import open_clip

    save_open_clip(tmp_path)
    model = open_clip.get_model_config("ViT-B-32-quickgelu")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": {}}))
    found = settings("train", "experiment=cir_cirr", f"init_from={tmp_path}")
    assert found.name == "ViT-B-32-quickgelu" and found.architecture is None


def test_what_is_set_beside_it_counts(tmp_path):
    save_transformers_clip(tmp_path)
    words = ["system/model=image_only", "system.model.backbone.preprocessing.tokenizer=open_clip"]
    config = composed("evaluate", with_own_weights("evaluate", [*words, f"ckpt={tmp_path}", "data=rooms"]))
    assert config.system.model.kind == "image_only"
    assert config.system.model.backbone.preprocessing.tokenizer == "open_clip"
    named = settings("train", "experiment=cir_cirr", f"init_from={tmp_path}", "system.model.backbone.name=ViT-L-14")
    assert named.name == "ViT-L-14" and named.architecture is None


def test_weights_of_which_nothing_is_said_ask_for_the_name(tmp_path):
    save_open_clip(tmp_path, described=False)
    path = tmp_path / "epoch_1.pt"
    with pytest.raises(ValueError, match=r"which model they are of: set system.model.backbone.name=NAME .*-quickgelu"):
        with_own_weights("evaluate", [f"ckpt={path}"])
    found = settings("evaluate", f"ckpt={path}", "system.model.backbone.name=ViT-B-32-quickgelu")
    assert found.pretrained == str(path) and found.name == "ViT-B-32-quickgelu"


def test_names_of_its_sizes_are_offered(tmp_path):
    from safetensors.torch import save_file

    shapes = {"visual.conv1.weight": (768, 3, 32, 32), "visual.positional_embedding": (50, 768)}
    shapes |= {"token_embedding.weight": (49408, 512)}
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="its sizes are those of ViT-B-32, ViT-B-32-quickgelu;"):
        with_own_weights("train", [f"init_from={tmp_path / 'x.safetensors'}"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text_config": {"hidden_act": "gelu"}}, "hidden_act is 'quick_gelu' of pictures and 'gelu' of texts"),
        ({"text_config": {"vocab_size": 21128}}, "vocab_size is 21128; built here is 49408 alone"),
        ({"vision_config": {"num_attention_heads": 5}}, "5 heads do not divide 768"),
        ({"vision_config": {"patch_size": "x"}}, "vision_config.patch_size must be a whole number"),
        ({"vision_config": 3}, "'vision_config' must be an object"),
        ({"projection_dim": -1}, "projection_dim must be a whole number"),
    ],
)
def test_a_description_that_cannot_be_built_is_refused_by_name(change, message, tmp_path):
    save_transformers_clip(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip", **change}))
    with pytest.raises(ValueError, match=f"config.json.*{message}"):
        with_own_weights("evaluate", [f"ckpt={tmp_path}"])


def test_what_is_no_clip_is_sent_where_it_belongs(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), tmp_path / "openai.pt")
    with pytest.raises(ValueError, match=r"is a program \(TorchScript\).*pretrained=openai"):
        with_own_weights("evaluate", [f"ckpt={tmp_path / 'openai.pt'}"])
    (tmp_path / "adapter_config.json").write_text("{}")
    assert kind_of(tmp_path) == "adapter"
    with pytest.raises(ValueError, match=r"a PEFT adapter, .*diptych import adapter=FOLDER experiment="):
        with_own_weights("evaluate", [f"ckpt={tmp_path}"])
    words = ["experiment=fuser_newsroom", f"init_from={tmp_path}"]
    assert with_own_weights("train", words) == words
    (tmp_path / "adapter_config.json").unlink()
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ValueError, match=r"a language model, .*import model=.*system.model.name=FOLDER"):
        with_own_weights("train", [f"init_from={tmp_path}"])

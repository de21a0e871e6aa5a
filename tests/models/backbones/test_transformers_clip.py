"""CLIP as transformers has it: the same weights give the same features, pads included, and the same tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel

from diptych.contracts.models import TextTokens
from diptych.models.backbones.clip import CLIPBackbone, CLIPPreprocessing
from diptych.models.backbones.transformers_clip import expected_shapes, open_clip_config, open_clip_weights
from released_good4cir import Towers, make_tokenizer

pytestmark = pytest.mark.slow

TEXTS = ["Add  a LAMP", "", "They’re red &amp; café ﬁve", "remove the rug " * 40]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return make_tokenizer(tmp_path_factory.mktemp("clip"))


def backbone_of(towers: Towers, tokenizer: str = "transformers", quick_gelu: bool = True) -> CLIPBackbone:
    vision, text = towers.vision.state_dict(), towers.text.state_dict()
    architecture = open_clip_config(vision, text, 2, 1, quick_gelu)
    preprocessing = CLIPPreprocessing("tiny", architecture=architecture, pad_to_context=True, tokenizer=tokenizer)
    backbone = CLIPBackbone("tiny", preprocessing, architecture=architecture, image_tokens="before_norm")
    result = backbone.clip.load_state_dict(open_clip_weights(vision, text), strict=False)
    assert result.missing_keys == ["logit_scale"] and not result.unexpected_keys
    return backbone


def test_tokens_and_pads_are_those_of_clip_tokenizer(tokenizer):
    theirs = tokenizer(TEXTS, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
    ours = backbone_of(Towers()).preprocessing.tokenize(TEXTS)
    assert torch.equal(ours.input_ids, theirs.input_ids) and torch.equal(ours.mask, theirs.attention_mask.bool())
    assert (ours.input_ids[1, 2:] == 49407).all() and ours.num_truncated == 1
    other = backbone_of(Towers(), "open_clip").preprocessing.tokenize(TEXTS)
    assert not torch.equal(other.input_ids[2, :8], ours.input_ids[2, :8])  # repaired quotes, ligatures and entities


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_features_are_those_of_transformers_at_the_pads_too(tokenizer, activation, grad):
    towers = Towers(hidden_act=activation)
    backbone = backbone_of(towers, quick_gelu=activation == "quick_gelu").train(grad)
    pixels = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    hidden, pooled = towers.vision_features((pixels / 255 - backbone.mean) / backbone.std)
    with torch.set_grad_enabled(grad):
        image, text = backbone.encode_image(pixels), backbone.encode_text(backbone.preprocessing.tokenize(TEXTS))
    torch.testing.assert_close(image.tokens, hidden, rtol=0, atol=1e-5)
    torch.testing.assert_close(image.pooled, pooled, rtol=0, atol=1e-5)
    assert hidden.abs().mean() > 0.1 and image.tokens.shape == (4, 5, 32)
    expected = towers.text_features(tokenizer, TEXTS)
    torch.testing.assert_close(text.tokens, expected, rtol=0, atol=1e-5)
    assert text.tokens.shape == (4, 77, 16)


def test_only_the_features_at_pads_depend_on_the_tokenizer(tokenizer):
    towers, texts = Towers(), ["add a lamp", "two more chairs, please"]
    ours, other = backbone_of(towers), backbone_of(towers, "open_clip")
    tokens = ours.preprocessing.tokenize(texts)
    features, others = (one.encode_text(one.preprocessing.tokenize(texts)) for one in (ours, other))
    torch.testing.assert_close(features.tokens[tokens.mask], others.tokens[tokens.mask], rtol=0, atol=1e-5)
    assert (features.tokens - others.tokens)[~tokens.mask].abs().max() > 0.1
    assert torch.equal(features.mask, others.mask)
    seen = other.encode_text(TextTokens(tokens.input_ids, tokens.mask))  # the same ids, but pads see each other
    assert (features.tokens - seen.tokens)[~tokens.mask].abs().max() > 0.01


def test_without_projections_there_are_no_embeddings():
    backbone = backbone_of(Towers())
    assert backbone.embedding_dim == 0
    assert not [name for name in backbone.state_dict() if name.endswith((".proj", "text_projection"))]
    pixels = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    assert backbone.encode_image(pixels).embedding.shape == (2, 0)
    assert backbone.encode_text(backbone.preprocessing.tokenize(["a", "b"])).embedding.shape == (2, 0)


def test_the_sizes_are_read_from_the_tensors():
    towers = Towers()
    for tower in (towers.vision, towers.text):
        state = tower.state_dict()
        assert expected_shapes(state) == {name: tuple(tensor.shape) for name, tensor in state.items()}
    with pytest.raises(ValueError, match="vision_heads=5 does not divide the width 32"):
        open_clip_config(towers.vision.state_dict(), towers.text.state_dict(), 5, 1, True)


def test_it_is_for_the_texts_of_clip_alone():
    assert CLIPPreprocessing("ViT-B-32", tokenizer="transformers").tokenize(["a"]).input_ids.tolist() == [
        [49406, 320, 49407]
    ]
    with pytest.raises(ValueError, match="tokenizer=transformers means CLIPTokenizer; the texts of ViT-B-16-SigLIP"):
        CLIPPreprocessing("ViT-B-16-SigLIP", tokenizer="transformers")
    with pytest.raises(ValueError, match="tokenizer='words' is not one of open_clip, transformers"):
        CLIPPreprocessing("ViT-B-32", tokenizer="words")


# ------------------------------------------------------------------------------------------- whole models

SIZES = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 16, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16, "mlp_ratio": 2.0},
    "text_cfg": {"vocab_size": 49408, "width": 16, "heads": 4, "layers": 3, "mlp_ratio": 3.0},
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[CLIPModel, Path]:
    """A tiny random CLIPModel, and its weights with config.json beside them."""
    torch.manual_seed(0)
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"hidden_size": 16, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = CLIPConfig(vision_config=vision | {"image_size": 16, "patch_size": 8}, text_config=text, projection_dim=24)
    model = CLIPModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name != "logit_scale":  # of which a model's loss makes use
                parameter.add_(torch.randn_like(parameter) * 0.2)
    folder = tmp_path_factory.mktemp("clip_model")
    model.save_pretrained(folder)
    return model, folder / "model.safetensors"


def backbone_from(path: Path, **changed) -> CLIPBackbone:
    sizes = SIZES | changed
    backbone = CLIPBackbone("tiny", CLIPPreprocessing("tiny", architecture=sizes), str(path), sizes)
    backbone.load_pretrained()
    return backbone


def embeddings(backbone: CLIPBackbone) -> tuple[torch.Tensor, torch.Tensor]:
    pixels = torch.randint(0, 256, (4, 3, 16, 16), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    image = backbone.encode_image(pixels).embedding
    return image, backbone.encode_text(backbone.preprocessing.tokenize(TEXTS)).embedding


def test_embeddings_of_a_whole_model_are_those_of_transformers(whole):
    model, path = whole
    backbone = backbone_from(path)  # which learns from config.json that it has quick_gelu
    tokens = backbone.preprocessing.tokenize(TEXTS)
    pixels = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    with torch.inference_mode():
        theirs = model(
            input_ids=tokens.input_ids,
            attention_mask=tokens.mask.long(),
            pixel_values=(pixels / 255 - backbone.mean) / backbone.std,
        )
        image, text = backbone.encode_image(pixels).embedding, backbone.encode_text(tokens).embedding
    for ours, expected in ((image, theirs.image_embeds), (text, theirs.text_embeds)):
        torch.testing.assert_close(torch.nn.functional.normalize(ours, dim=-1), expected, rtol=0, atol=1e-5)
        assert expected.std(dim=0).max() > 0.01  # not all alike
    assert backbone.clip.logit_scale == model.logit_scale


def test_its_weights_are_the_same_under_open_clips_names_and_from_older_versions(whole, tmp_path):
    _, path = whole
    backbone, state = backbone_from(path), load_file(path)
    (tmp_path / "config.json").write_text((path.parent / "config.json").read_text())
    torch.save(backbone.clip.state_dict(), tmp_path / "open_clip.pt")
    positions = {"vision_model.embeddings.position_ids": 5, "text_model.embeddings.position_ids": 77}
    older = state | {name: torch.arange(number)[None] for name, number in positions.items()}
    torch.save({"state_dict": {f"module.{name}": value for name, value in older.items()}}, tmp_path / "older.bin")
    for name in ("open_clip.pt", "older.bin"):
        torch.testing.assert_close(embeddings(backbone_from(tmp_path / name)), embeddings(backbone), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", r"missing: text_model.encoder.layers.1.mlp.fc1.bias"),
        ("unknown", r"unknown: vision_model.adapter"),
        ("shape", r"of another shape: text_projection.weight \(24, 15\), not \(24, 16\)"),
        ("tower", r"text tower or projection: it lacks 'embeddings.position_embedding.weight'"),
        ("projection", r"it lacks 'visual_projection.weight'"),
    ],
)
def test_a_tensor_too_few_or_too_many_is_named(whole, tmp_path, fault, message):
    state = load_file(whole[1])
    if fault == "missing":
        del state["text_model.encoder.layers.1.mlp.fc1.bias"]
    elif fault == "unknown":
        state["vision_model.adapter"] = torch.ones(3)
    elif fault == "shape":
        state["text_projection.weight"] = torch.ones(24, 15)
    elif fault == "tower":
        state = {name: tensor for name, tensor in state.items() if not name.startswith("text_model.")}
    else:
        del state["visual_projection.weight"]
    save_file(state, tmp_path / "wrong.safetensors")
    with pytest.raises(ValueError, match=rf"wrong.safetensors: no weights for the model tiny.*{message}"):
        backbone_from(tmp_path / "wrong.safetensors")


def test_a_model_of_other_sizes_is_refused(whole):
    _, path = whole
    for changed in ({"embed_dim": 16}, {"text_cfg": SIZES["text_cfg"] | {"layers": 2}}):
        with pytest.raises(ValueError, match=r"model.safetensors: no weights for the model tiny"):
            backbone_from(path, **changed)
    with pytest.raises(ValueError, match=r"config.json: its text_config has 4 heads, and 2 .* choose a model of the"):
        backbone_from(path, text_cfg=SIZES["text_cfg"] | {"heads": 2})
    with pytest.raises(ValueError, match=r"config.json: its vision_config has 2 heads, and 1 "):
        backbone_from(path, vision_cfg=SIZES["vision_cfg"] | {"head_width": 32})

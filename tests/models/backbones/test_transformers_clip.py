"""CLIP as transformers has it: the same weights give the same features, pads included, and the same tokens."""

from __future__ import annotations

import pytest
import torch

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

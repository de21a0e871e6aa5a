from __future__ import annotations

import os
from pathlib import Path

import open_clip
import pytest
import torch

from diptych.contracts.models import TextTokens
from diptych.models.backbones.clip import CLIPBackbone, CLIPPreprocessing
from diptych.models.backbones.quick_gelu import LeanQuickGELU

START, END = 49406, 49407


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    """The published normalisation, written out."""
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN, dtype=torch.float64).view(3, 1, 1)
    std = torch.tensor(open_clip.OPENAI_DATASET_STD, dtype=torch.float64).view(3, 1, 1)
    return (pixels.double() / 255 - mean) / std


# ------------------------------------------------------------------------------------------- equal to open_clip


def test_a_vit_gives_open_clips_embeddings(tiny_backbone, tiny_batch):
    backbone, batch = tiny_backbone().double(), tiny_batch()
    image, text = backbone.encode_image(batch.reference), backbone.encode_text(batch.text)
    padded = open_clip.SimpleTokenizer()(["add a lamp", "remove the red curtains and the rug beside the bed"])
    theirs = backbone.clip.encode_image(normalised(batch.reference))
    torch.testing.assert_close(image.embedding, theirs, rtol=0, atol=1e-6)  # mean and deviation are float32
    torch.testing.assert_close(text.embedding[:2], backbone.clip.encode_text(padded), rtol=0, atol=1e-12)
    assert image.tokens.shape == (8, 4, 32) and image.pooled.shape == (8, 32) and image.embedding.shape == (8, 16)
    assert text.tokens.shape == (8, batch.text.input_ids.shape[1], 16) and text.embedding.shape == (8, 16)
    assert (backbone.vision_dim, backbone.text_dim, backbone.embedding_dim) == (32, 16, 16)
    torch.testing.assert_close(image.pooled @ backbone.visual.proj, image.embedding)


@pytest.mark.models
@pytest.mark.parametrize("projection", ["linear", "none", None])
@pytest.mark.parametrize("pool", ["token", "avg"])
def test_a_timm_tower_gives_open_clips_embeddings(tiny_architecture, tiny_batch, pool, projection):
    """SigLIP has no projection, EVA02 and MobileCLIP use the trunk's own classifier as one."""
    vision = {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": pool, "timm_proj": projection}
    architecture = tiny_architecture | {"embed_dim": 64, "vision_cfg": vision}
    backbone = CLIPBackbone("timm", CLIPPreprocessing("timm", architecture=architecture), architecture=architecture)
    backbone.double().eval()
    pixels = torch.randint(0, 256, (2, 3, 160, 160), dtype=torch.uint8)
    features = backbone.encode_image(pixels)
    theirs = backbone.clip.encode_image(normalised(pixels))
    torch.testing.assert_close(features.embedding, theirs, rtol=0, atol=1e-6)
    assert features.tokens.shape == (2, 100, backbone.vision_dim)
    assert features.pooled.shape == (2, backbone.vision_dim)
    backbone.freeze_image_projection()
    backbone.encode_image(pixels).pooled.sum().backward()
    assert not [name for name, p in backbone.visual.named_parameters() if p.requires_grad and p.grad is None]


def test_a_text_is_the_same_at_any_padding(tiny_backbone, tiny_architecture, tiny_preprocessing):
    backbone, texts = tiny_backbone().double(), ["add a lamp", "two more chairs, please"]
    full = CLIPPreprocessing("tiny", architecture=tiny_architecture, pad_to_context=True).tokenize(texts)
    trimmed = tiny_preprocessing.tokenize(texts)
    assert full.input_ids.shape == (2, 77) and trimmed.input_ids.shape[1] < 10
    long, short = backbone.encode_text(full), backbone.encode_text(trimmed)
    length = trimmed.input_ids.shape[1]
    torch.testing.assert_close(long.embedding, short.embedding, rtol=0, atol=1e-6)
    torch.testing.assert_close(long.tokens[:, :length][trimmed.mask], short.tokens[trimmed.mask], rtol=0, atol=1e-6)
    assert torch.equal(full.mask[:, :length], trimmed.mask) and not full.mask[:, length:].any()


def test_without_a_causal_mask_texts_keep_the_length_of_the_training(tiny_architecture):
    bidirectional = {"no_causal_mask": True, "pad_id": 1, "pool_type": "last", "proj_bias": True}
    architecture = tiny_architecture | {"text_cfg": tiny_architecture["text_cfg"] | bidirectional}
    preprocessing = CLIPPreprocessing("tiny", architecture=architecture)
    backbone = CLIPBackbone("tiny", preprocessing, architecture=architecture)
    tokens = preprocessing.tokenize(["add a lamp"])
    assert tokens.input_ids.shape == (1, 77) and (tokens.input_ids[~tokens.mask] == 1).all()
    torch.testing.assert_close(backbone.encode_text(tokens).embedding, backbone.clip.encode_text(tokens.input_ids))


def test_activation_checkpointing_changes_no_gradient(tiny_backbone, tiny_batch):
    gradients = []
    for checkpointing in (False, True):
        backbone, batch = tiny_backbone(activation_checkpointing=checkpointing), tiny_batch(3)
        (
            backbone.encode_image(batch.reference).embedding @ backbone.encode_text(batch.text).embedding.T
        ).sum().backward()
        gradients.append({name: p.grad for name, p in backbone.named_parameters() if p.requires_grad})
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-7)


# ------------------------------------------------------------------------------------------- tokens


def test_tokens_are_open_clips(tiny_preprocessing):
    texts = ["Add  a LAMP &amp; a chair", "a café — 3 beds!", "x"]
    ours, theirs = tiny_preprocessing.tokenize(texts), open_clip.SimpleTokenizer()(texts)
    length = ours.input_ids.shape[1]
    assert torch.equal(ours.input_ids, theirs[:, :length]) and not theirs[:, length:].any()
    assert torch.equal(ours.mask.sum(dim=1), (theirs != 0).sum(dim=1))


def test_a_text_over_77_tokens_is_cut_before_its_end_token_and_counted(tiny_preprocessing, tiny_backbone):
    tokens = tiny_preprocessing.tokenize(["lamp " * 76, "lamp " * 75, "lamp " * 200])
    assert tokens.num_truncated == 2
    assert tokens.input_ids.shape == (3, 77) and tokens.mask.all()
    assert (tokens.input_ids[:, 0] == START).all() and (tokens.input_ids[:, -1] == END).all()
    assert torch.equal(tokens.input_ids[0], tokens.input_ids[1])  # 75 words are what fits
    assert tiny_backbone().encode_text(tokens).embedding.isfinite().all()


@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_a_blank_text_is_start_and_end(tiny_preprocessing, tiny_backbone, blank):
    tokens = tiny_preprocessing.tokenize([blank, "add a lamp"])
    assert tokens.input_ids[0, :2].tolist() == [START, END] and tokens.mask[0].sum() == 2
    assert tiny_backbone().encode_text(tokens).embedding.isfinite().all()
    assert tiny_preprocessing.tokenize([blank]).input_ids.tolist() == [[START, END]]


def test_the_image_settings_are_those_of_the_weights():
    clip = CLIPPreprocessing("ViT-B-32", "openai", target_pad=1.25).image
    assert (clip.size, clip.interpolation, clip.resize, clip.target_pad) == (224, "bicubic", "shortest", 1.25)
    assert clip.mean == (0.48145466, 0.4578275, 0.40821073) and clip.std == (0.26862954, 0.26130258, 0.27577711)
    siglip = CLIPPreprocessing("ViT-B-16-SigLIP2-384", "webli").image
    assert (siglip.size, siglip.resize, siglip.mean, siglip.std) == (384, "squash", (0.5,) * 3, (0.5,) * 3)


# ------------------------------------------------------------------------------------------- freezing


@pytest.mark.parametrize(
    ("freeze", "trainable"),
    [("none", {"visual", "text"}), ("vision", {"text"}), ("text", {"visual"}), ("all", set())],
)
def test_freezing_leaves_the_right_tower_trainable(tiny_backbone, tiny_batch, freeze, trainable):
    backbone, batch = tiny_backbone(freeze=freeze), tiny_batch(2)
    assert {name.split(".")[1] for name, p in backbone.named_parameters() if p.requires_grad} == trainable
    assert all(p.requires_grad for name, p in backbone.named_parameters() if name.split(".")[1] in trainable)
    image, text = backbone.encode_image(batch.reference), backbone.encode_text(batch.text)
    assert (image.tokens.grad_fn is not None) == ("visual" in trainable)
    assert (text.tokens.grad_fn is not None) == ("text" in trainable)
    assert torch.is_grad_enabled()


def test_no_graph_is_built_where_none_is_wanted(tiny_backbone, tiny_batch):
    with torch.no_grad():
        assert tiny_backbone().encode_image(tiny_batch(2).reference).embedding.grad_fn is None


def test_an_unknown_freeze_choice_is_named(tiny_backbone):
    with pytest.raises(ValueError, match=r"^freeze='visual' is not one of none, vision, text, all"):
        tiny_backbone(freeze="visual")


# ------------------------------------------------------------------------------------------- which models


def test_openais_weights_run_with_the_activation_they_were_trained_with(tiny_architecture, tiny_preprocessing):
    def activations(pretrained: str | None) -> set[type]:
        backbone = CLIPBackbone("ViT-B-32", tiny_preprocessing, pretrained, tiny_architecture)
        blocks = [*backbone.visual.transformer.resblocks, *backbone.text.transformer.resblocks]
        return {type(block.mlp.gelu) for block in blocks}

    assert activations("openai") == {LeanQuickGELU}
    assert activations("laion2b_s34b_b79k") == activations(None) == {torch.nn.GELU}


def test_an_unknown_model_is_named():
    with pytest.raises(ValueError, match=r"^name='ViT-B-33' is not an open_clip model"):
        CLIPPreprocessing("ViT-B-33")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vision_cfg": {"layers": [1, 1, 1, 1], "width": 8, "image_size": 32}}, "has no patch tokens"),
        ({"vision_cfg": {"timm_model_name": "test_convnext", "image_size": 160}}, "has no patch tokens"),
        (
            {"vision_cfg": {"image_size": 16, "patch_size": 8, "width": 32, "layers": 1, "head_width": 16,
                            "attentional_pool": True, "attn_pooler_heads": 2}},
            "has no patch tokens",
        ),
        ({"text_cfg": {"width": 16, "heads": 2, "layers": 1, "embed_cls": True}}, "text tower is not supported"),
        ({"text_cfg": {"hf_model_name": "roberta-base"}}, "needs hf_model_name"),
        ({"multimodal_cfg": {}}, "needs multimodal_cfg"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_serve_is_refused(tiny_architecture, tiny_preprocessing, change, message):
    with pytest.raises(ValueError, match=rf"^name='odd'.*{message}"):
        CLIPBackbone("odd", tiny_preprocessing, architecture=tiny_architecture | change)


# ------------------------------------------------------------------------------------------- weights


def saved_weights(backbone: CLIPBackbone, path: Path) -> Path:
    torch.save(backbone.clip.state_dict(), path)
    return path


def test_weights_load_from_a_local_file(tiny_backbone, tiny_batch, tmp_path):
    first = tiny_backbone()
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(0.01)
    second = tiny_backbone(pretrained=str(saved_weights(first, tmp_path / "weights.pt")))
    pixels = tiny_batch(2).reference
    assert not torch.equal(first.encode_image(pixels).embedding, second.encode_image(pixels).embedding)
    second.load_pretrained()
    assert torch.equal(first.encode_image(pixels).embedding, second.encode_image(pixels).embedding)


def test_without_a_tag_there_is_nothing_to_load(tiny_backbone):
    backbone = tiny_backbone()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    backbone.load_pretrained()
    torch.testing.assert_close(backbone.state_dict(), before, rtol=0, atol=0)


def test_an_unknown_tag_lists_the_known_ones(tiny_architecture, tiny_preprocessing):
    backbone = CLIPBackbone("ViT-B-32", tiny_preprocessing, "opena", tiny_architecture)
    with pytest.raises(ValueError, match=r"'opena' is neither a file nor a tag of ViT-B-32 \(openai, .*laion2b_s34b"):
        backbone.load_pretrained()


class Hostile:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.filterwarnings("ignore:.*TorchScript archive", "ignore:.*torch.jit.script")
@pytest.mark.parametrize("kind", ["other model", "no checkpoint", "empty", "a list", "code", "torchscript"])
def test_a_file_that_holds_no_weights_of_the_model_is_named(tiny_backbone, tmp_path, kind):
    path = tmp_path / "wrong.pt"
    if kind == "other model":
        torch.save({"weight": torch.ones(3)}, path)
    elif kind == "no checkpoint":
        path.write_text("<html>404 not found</html>")
    elif kind == "empty":
        path.touch()
    elif kind == "a list":
        torch.save([torch.ones(3)], path)
    elif kind == "code":
        torch.save({"weight": Hostile(tmp_path / "ran")}, path)
    else:
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    with pytest.raises(ValueError, match=r"wrong\.pt: no weights for the model tiny"):
        tiny_backbone(pretrained=str(path)).load_pretrained()
    assert not (tmp_path / "ran").exists()


def test_the_mask_travels_with_the_features(tiny_backbone):
    ids = torch.tensor([[START, 320, END, 0], [START, 320, 320, END]])
    mask = torch.tensor([[True, True, True, False], [True] * 4])
    assert tiny_backbone().encode_text(TextTokens(ids, mask)).mask is mask

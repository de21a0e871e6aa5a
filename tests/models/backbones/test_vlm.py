"""The vision-language backbone says what transformers' own forward says, whatever the batch and the pads."""

from __future__ import annotations

import pytest
import torch
import transformers
from torch.nn import functional as F

from diptych.contracts.models import Backbone, TextTokens
from diptych.models.backbones.vlm import VLMBackbone
from tiny_vlms import FAMILIES, SIZES, pictures, save_tiny_vlm, tiny_preprocessing, tiny_vlm

pytestmark = pytest.mark.models

TEXTS = ["make the curtains green", "darker", "", "with a <|im_end|> and a lamp <|image_pad|>"]
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def folder(family, tmp_path_factory, tiny_chat_model):
    return save_tiny_vlm(tmp_path_factory.mktemp(family), tiny_chat_model, family)


@pytest.fixture(scope="module")
def backbone(folder, family):
    return tiny_vlm(folder, family)


@pytest.fixture(scope="module")
def pixels(family):
    return pictures(len(TEXTS), SIZES[family])


def of_transformers(folder, pixels, tokens, spatial=True):
    """The last hidden states of the model's own forward, of one example at a time, its inputs by its own processor."""
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder).eval()
    config = model.config
    facts = {"patch_size": config.vision_config.patch_size, "do_resize": False}
    if config.model_type == "qwen3_vl":
        facts |= {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    processor = transformers.Qwen2VLImageProcessor(**facts)
    found = []
    for picture, ids, mask in zip(pixels, tokens.input_ids, tokens.mask, strict=True):
        real = ids[mask][None]
        given = processor(images=[picture], return_tensors="pt")
        inputs = {
            "input_ids": real,
            "attention_mask": torch.ones_like(real),
            "mm_token_type_ids": (real == config.image_token_id).int(),
            **given,
        }
        if not spatial:
            inputs["position_ids"] = torch.arange(real.shape[1]).expand(3, 1, -1)
        with torch.no_grad():
            found.append(model.model(**inputs).last_hidden_state[0, -1])
    return torch.stack(found)


@torch.no_grad()
def queries(backbone, pixels, tokens):
    return backbone.embed(tokens, backbone.look(pixels))


@pytest.mark.parametrize("how", ["spatial", "sequential"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_embeddings_are_those_of_transformers_own_forward(folder, family, pixels, side, how):
    prompts = tiny_preprocessing(folder, family, padding_side=side)
    backbone = tiny_vlm(folder, family, preprocessing=prompts, positions=how)
    tokens = prompts.tokenize(TEXTS)
    assert not tokens.mask.all() and tokens.mask[:, -1].all() == (side == "left")
    expected = of_transformers(folder, pixels, tokens, spatial=how == "spatial")
    torch.testing.assert_close(queries(backbone, pixels, tokens), expected, **CLOSE)


def test_pictures_of_the_gallery_are_those_of_transformers_own_forward(backbone, folder, pixels):
    prompt = backbone.prompts.tokenize_target()
    prompts = TextTokens(*(part.expand(len(pixels), -1) for part in (prompt.input_ids, prompt.mask)))
    with torch.no_grad():
        found = backbone.encode_image(pixels)
    torch.testing.assert_close(found.embedding, of_transformers(folder, pixels, prompts), **CLOSE)
    assert found.tokens.shape == (len(pixels), 4, backbone.vision_dim)


def test_positions_matter(backbone, folder, family, pixels):
    tokens = backbone.preprocessing.tokenize(TEXTS)
    other = tiny_vlm(folder, family, positions="sequential")
    assert (queries(backbone, pixels, tokens) - queries(other, pixels, tokens)).abs().max() > 1e-3


def test_a_batch_is_what_its_examples_are_alone_in_any_order(backbone, pixels):
    tokenize = backbone.preprocessing.tokenize
    together = queries(backbone, pixels, tokenize(TEXTS))
    alone = [queries(backbone, pixels[[n]], tokenize([text])) for n, text in enumerate(TEXTS)]
    torch.testing.assert_close(together, torch.cat(alone), **CLOSE)
    order = [2, 0, 3, 1]
    again = queries(backbone, pixels[order], tokenize([TEXTS[n] for n in order]))
    torch.testing.assert_close(again, together[order], **CLOSE)
    assert F.pdist(F.normalize(together)).min() > 1e-2  # picture and text are looked at


def test_a_text_alone_is_its_prompt_without_the_picture(backbone, folder):
    tokenizer, preprocessing = transformers.AutoTokenizer.from_pretrained(folder), backbone.preprocessing
    prompt = preprocessing.template.replace("{instruction}", "Find it.").replace("{text}", "darker")
    ids = tokenizer(
        prompt.replace("<|vision_start|><|image_pad|><|vision_end|>", ""), add_special_tokens=False, return_tensors="pt"
    )["input_ids"]
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = model.model(input_ids=ids).last_hidden_state[0, -1]
        found = backbone.encode_text(preprocessing.tokenize(["darker", "make it a great deal darker"]))
    torch.testing.assert_close(found.embedding[0], expected, **CLOSE)
    assert found.tokens.shape[:2] == found.mask.shape


def test_it_has_what_the_contract_asks_for(backbone):
    names = {*Backbone.__annotations__, *(name for name in vars(Backbone) if not name.startswith("_"))}
    assert not [name for name in names if not hasattr(backbone, name)]


def test_construction_reads_nothing_and_says_what_is_missing(family):
    backbone = VLMBackbone("nowhere/at-all", tiny_preprocessing("nowhere/at-all", family), dtype="float32")
    assert not list(backbone.parameters()) and backbone.embedding_dim == -1
    with pytest.raises(ValueError, match="the weights of nowhere/at-all are not read yet"):
        backbone.look(pictures(1, SIZES[family]))


def test_a_model_of_another_family_or_size_is_refused(backbone, folder, family):
    other = {"qwen2_vl": "qwen3_vl", "qwen2_5_vl": "qwen2_vl", "qwen3_vl": "qwen2_5_vl"}[family]
    with pytest.raises(ValueError, match=f"no {other} model|cannot be read"):
        tiny_vlm(folder, other)
    with pytest.raises(ValueError, match=f"pictures of .* pixels, where {SIZES[family]} a side"):
        backbone.look(pictures(1, 2 * SIZES[family]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"positions": "round"}, "positions='round' is not one of spatial, sequential"),
        ({"quantization": "int3"}, "quantization='int3' is not one of"),
        ({"dtype": "int"}, "dtype='int' is not one of"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        VLMBackbone("x", tiny_preprocessing("x", "qwen2_vl"), **settings)


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
def test_a_quantised_model_is_near_the_whole_one(folder, family, pixels, quantization):
    backbone = tiny_vlm(folder, family, quantization=quantization, dtype="bfloat16")
    whole = tiny_vlm(folder, family)
    tokens = whole.preprocessing.tokenize(TEXTS)
    near = F.cosine_similarity(queries(backbone, pixels, tokens).float(), queries(whole, pixels, tokens))
    assert near.min() > 0.8

"""Prompts are what their template says, token for token, whatever a text holds."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
import transformers
from omegaconf import OmegaConf

from diptych.models.backbones.vlm_facts import FAMILIES
from diptych.models.backbones.vlm_inputs import patches, token_positions
from tiny_vlms import pictures, save_tiny_vlm, tiny_preprocessing

pytestmark = pytest.mark.models

CONF = Path(__file__).resolve().parents[3] / "conf/system/model/backbone"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_chat_model):
    return save_tiny_vlm(tmp_path_factory.mktemp("vlm"), tiny_chat_model, "qwen2_vl")


@pytest.fixture(scope="module")
def tokenizer(folder):
    return transformers.AutoTokenizer.from_pretrained(folder)


def test_a_prompt_is_its_template_with_a_token_for_each_part_of_the_picture(folder, tokenizer):
    prompts = tiny_preprocessing(folder, "qwen2_vl", image_size=84)
    tokens = prompts.tokenize(["darker", "make it a great deal darker"])
    expected = (
        "<|im_start|>system\nFind it.<|im_end|>\n<|im_start|>user\n"
        "<|vision_start|>" + "<|image_pad|>" * 9 + "<|vision_end|>"
        "darker<|im_end|>\n<|im_start|>assistant\n<|endoftext|>"
    )
    assert tokenizer.decode(tokens.input_ids[0][tokens.mask[0]]) == expected
    assert tokens.mask[1].all() and not tokens.mask[0].all() and tokens.num_truncated == 0
    target = prompts.tokenize_target()
    assert tokenizer.decode(target.input_ids[0]) == expected.replace("Find it.", "Look.").replace("darker", "")


def test_it_is_the_models_own_chat_template(folder, tokenizer):
    processor = transformers.Qwen2VLProcessor(
        transformers.Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=56 * 56),
        tokenizer,
        transformers.Qwen2VLVideoProcessor(),
        chat_template=(
            "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for part in message.content %}"
            "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}"
            "{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
        ),
    )
    picture = pictures(1, 56)[0]
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "Find it."}]},
        {"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": "darker"}]},
    ]
    own = processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    ours = tiny_preprocessing(folder, "qwen2_vl", template=_of_config("qwen2_5_vl_3b")["template"]).tokenize(["darker"])
    assert torch.equal(ours.input_ids, own["input_ids"])


def test_control_tokens_in_a_text_are_text(folder, tokenizer):
    text = "<|im_end|> <|image_pad|><|vision_start|> <|endoftext|>"
    prompts = tiny_preprocessing(folder, "qwen2_vl")
    (row,) = prompts.tokenize([text]).input_ids
    assert int((row == prompts.image_token).sum()) == prompts.num_image_tokens
    assert tokenizer.decode(row).count(text) == 1


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_long_text_loses_its_end_and_the_prompt_keeps_its_own(folder, tokenizer, side):
    prompts = tiny_preprocessing(folder, "qwen2_vl", max_text_tokens=5, padding_side=side)
    tokens = prompts.tokenize(["dark", "darker", "brighter"])
    assert tokens.num_truncated == 2
    texts = [tokenizer.decode(row[mask]) for row, mask in zip(tokens.input_ids, tokens.mask, strict=True)]
    for text, kept in zip(texts, ("dark", "darke", "brigh"), strict=True):
        assert text.endswith(f"<|vision_end|>{kept}<|im_end|>\n<|im_start|>assistant\n<|endoftext|>")


def test_workers_can_have_it(folder):
    prompts = tiny_preprocessing(folder, "qwen2_vl")
    copied = pickle.loads(pickle.dumps(prompts))
    assert torch.equal(copied.tokenize(["darker"]).input_ids, prompts.tokenize(["darker"]).input_ids)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 50}, "image_size=50 is no multiple of 28"),
        ({"template": "{instruction}{text}"}, r"must hold <\|image_pad\|> once, and holds it 0 times"),
        ({"template": "{text}<|image_pad|>{instruction}"}, "in front of the {text}"),
        ({"max_text_tokens": 0}, "max_text_tokens=0 must be at least 1"),
        ({"padding_side": "top"}, "padding_side='top' is not one of right, left"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        tiny_preprocessing(Path("x"), "qwen2_vl", **settings)


def test_an_unknown_family_and_a_tokenizer_of_texts_are_refused(tiny_chat_model):
    with pytest.raises(ValueError, match="family='llava' is not one of qwen2_vl"):
        tiny_preprocessing(Path("x"), "llava", image_size=56)
    with pytest.raises(ValueError, match=r"does not know <\|image_pad\|>; name a vision-language model"):
        tiny_preprocessing(tiny_chat_model, "qwen2_vl").tokenize(["darker"])


@pytest.mark.parametrize("family", FAMILIES)
def test_patches_are_those_of_transformers_processor(family):
    facts, pixels = FAMILIES[family], pictures(2, 2 * FAMILIES[family].token_side)
    processor = transformers.Qwen2VLImageProcessor(
        patch_size=facts.patch, merge_size=facts.merge, image_mean=facts.mean, image_std=facts.std, do_resize=False
    )
    expected = processor(images=list(pixels), return_tensors="pt")["pixel_values"]
    spec = tiny_preprocessing(Path("x"), family).image
    torch.testing.assert_close(patches(pixels, spec, facts), expected, rtol=1e-5, atol=1e-5)


def test_positions_are_those_that_are_written_down():
    picture = torch.tensor([[0, 0, 1, 1, 1, 1, 0, 0, 0]], dtype=torch.bool)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 1, 1, 0]], dtype=torch.bool)
    spatial = token_positions(mask, picture, 2, spatial=True)[:, 0].tolist()
    assert spatial == [
        [0, 1, 2, 2, 2, 2, 4, 5, 0],
        [0, 1, 2, 2, 3, 3, 4, 5, 0],
        [0, 1, 2, 3, 2, 3, 4, 5, 0],
    ]
    assert token_positions(mask, picture, 2, spatial=False)[:, 0].tolist() == [[0, 1, 2, 3, 4, 5, 6, 7, 0]] * 3


@pytest.mark.parametrize("name", ["gme_qwen2_vl_2b", "vlm2vec_qwen2_vl_2b", "qwen2_5_vl_3b", "qwen3_vl_embedding_2b"])
def test_the_prompts_of_the_configs_can_be_made(name, folder):
    config = _of_config(name)
    given = {key: config[key] for key in ("template", "instruction", "target_instruction", "image_size")}
    prompts = tiny_preprocessing(folder, config["family"], **given)
    tokens = prompts.tokenize(["darker"])
    assert int((tokens.input_ids == prompts.image_token).sum()) == prompts.num_image_tokens > 100


def _of_config(name):
    return OmegaConf.load(CONF / f"{name}.yaml")["preprocessing"]

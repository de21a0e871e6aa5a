from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from diptych.models.captioners.caption import DecodingSettings
from diptych.models.captioners.image_text_to_text import ImageTextCaptioner
from diptych.models.captioners.instructblip import InstructBLIPCaptioner

pytestmark = pytest.mark.models

NUM_QUERY_TOKENS = 4
INSTRUCTION = "Say what is there."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_chat_model: Path) -> Path:
    """An InstructBLIP of narrow layers with its processor; random weights."""
    from transformers import (
        AutoTokenizer,
        BlipImageProcessor,
        InstructBlipConfig,
        InstructBlipForConditionalGeneration,
        InstructBlipProcessor,
        InstructBlipQFormerConfig,
        InstructBlipVisionConfig,
        LlamaConfig,
    )

    tokenizer = AutoTokenizer.from_pretrained(tiny_chat_model)
    qformer_tokenizer = AutoTokenizer.from_pretrained(tiny_chat_model)
    processor = InstructBlipProcessor(
        BlipImageProcessor(size={"height": 28, "width": 28}), tokenizer, qformer_tokenizer, NUM_QUERY_TOKENS
    )
    narrow = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    text = LlamaConfig(
        **narrow,
        vocab_size=len(tokenizer),
        num_hidden_layers=1,
        num_key_value_heads=2,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    config = InstructBlipConfig(
        vision_config=InstructBlipVisionConfig(
            **narrow, num_hidden_layers=1, image_size=28, patch_size=14, qkv_bias=True
        ),
        qformer_config=InstructBlipQFormerConfig(
            **narrow, vocab_size=len(qformer_tokenizer), num_hidden_layers=2, encoder_hidden_size=32
        ),
        text_config=text,
        num_query_tokens=NUM_QUERY_TOKENS,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    model = InstructBlipForConditionalGeneration(config)
    for parameter in model.parameters():  # as initialised, the photo would be lost on the way
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    path = tmp_path_factory.mktemp("tiny_instructblip")
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


def loaded(folder: Path, **settings) -> InstructBLIPCaptioner:
    captioner = InstructBLIPCaptioner(
        INSTRUCTION,
        str(folder),
        **{"quantization": "none", "dtype": "float32", "decoding": DecodingSettings(12, 4, 3), **settings},
    )
    captioner.load()
    return captioner


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    return [Image.new("RGB", (60, 40), "black"), Image.radial_gradient("L").convert("RGB"), Image.new("RGB", (9, 9))]


def test_a_batch_is_what_its_photos_are_alone(folder, photos):
    captioner = loaded(folder)
    together = captioner.describe(photos)
    assert together == [captioner.describe([photo])[0] for photo in photos]
    assert together[0].text and together[0] != together[1]  # the photo is looked at
    assert all("Say what" not in caption.text and "<image>" not in caption.text for caption in together)


def test_only_new_tokens_are_counted_and_kept(folder, photos):
    captioner = loaded(folder, decoding=DecodingSettings(7, 7, 2))
    inputs = captioner._inputs(photos)
    prompt = inputs["input_ids"].shape[1]
    assert prompt == NUM_QUERY_TOKENS + len(captioner._processor.tokenizer.encode(INSTRUCTION))
    (caption, *_) = captioner.describe(photos)
    assert caption.stop_reason == "length"
    outputs = captioner._model.generate(
        **inputs, **captioner.decoding.generation_arguments(), pad_token_id=captioner._processor.tokenizer.pad_token_id
    )
    assert outputs.shape[1] == prompt + 7
    assert caption.text == " ".join(captioner._processor.tokenizer.decode(outputs[0, prompt:]).split())


def test_the_published_settings_are_the_defaults():
    decoding = InstructBLIPCaptioner(INSTRUCTION).decoding
    assert (decoding.max_new_tokens, decoding.min_new_tokens, decoding.num_beams) == (350, 50, 5)
    assert decoding.generation_arguments()["early_stopping"] is True
    assert (decoding.length_penalty, decoding.repetition_penalty) == (1.0, 1.1)
    second = decoding.second_try()
    assert (second.length_penalty, second.repetition_penalty, second.num_beams) == (1.2, 1.12, 5)


def test_int8(folder, photos):
    captioner = loaded(folder, quantization="int8", dtype="bfloat16")
    assert "Linear8bitLt" in {type(module).__name__ for module in captioner.modules()}
    assert len(captioner.describe(photos)) == 3


def edited(folder: Path, tmp_path: Path, change) -> Path:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    path = copy / "processor_config.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return copy


def test_checkpoints_that_do_not_fit(folder, tmp_path):
    def default_size(content):
        content["image_processor"]["size"] = {"height": 384, "width": 384}

    with pytest.raises(ValueError, match="makes pictures of 384 x 384 pixels, but the model reads 28"):
        loaded(edited(folder, tmp_path / "a", default_size))
    with pytest.raises(ValueError, match="num_query_tokens is None in processor_config.json, but the model has 4"):
        loaded(edited(folder, tmp_path / "b", lambda content: content.pop("num_query_tokens")))
    with pytest.raises(ValueError, match="has no chat template"):
        ImageTextCaptioner(str(folder), INSTRUCTION, "none", "float32").load()

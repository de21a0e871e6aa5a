"""In bfloat16 an encoder of photos gives the embeddings that it gives in float32, up to a cosine of 0.999."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

import golden_files
from diptych.models.backbones import encoder_dtype
from diptych.models.backbones.beit3_encoder import BEiT3Encoder
from diptych.models.backbones.clip_encoder import CLIPEncoder
from diptych.models.backbones.encoder_dtype import settled_dtype, weights_dtype
from diptych.models.backbones.siglip_encoder import SiglipEncoder

FIXTURE = golden_files.COMMITTED / "beit3"


def least_cosine(one, two):
    assert one.dtype == two.dtype == torch.float32
    return (one * two).sum(dim=-1).min()


def test_beit3_gives_the_published_embeddings():
    expected = load_file(FIXTURE / "tiny.expected.safetensors")
    encoder = BEiT3Encoder(FIXTURE / "tiny.pth", image_size=64, num_heads=4, dtype="bfloat16")
    encoder.load()
    model = encoder.model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    images = model.encode_image(expected["pixel_values"].bfloat16())
    texts = model.encode_text(expected["input_ids"], expected["padding_mask"])
    assert least_cosine(images, expected["image_embeds"]) > 0.999
    assert least_cosine(texts, expected["text_embeds"]) > 0.999


def test_clip_gives_those_of_float32(tiny_backbone):
    pixels = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    embedded = []
    for dtype in ("float32", "bfloat16"):
        encoder = CLIPEncoder(tiny_backbone(), dtype)
        encoder.load()
        assert {parameter.dtype for parameter in encoder.parameters()} == {weights_dtype(dtype)}
        embedded.append((encoder.embed_images(pixels), encoder.embed_texts(["add a lamp", "darker", ""])))
    for one, two in zip(*embedded, strict=True):
        assert least_cosine(one, two) > 0.999


@pytest.mark.parametrize(
    ("on_gpu", "has_bf16", "expected"),
    [(False, True, "float32"), (True, True, "bfloat16"), (True, False, "float32")],
)
def test_auto_is_what_the_device_of_the_process_computes_in(monkeypatch, on_gpu, has_bf16, expected):
    def supported(including_emulation):
        return has_bf16 or including_emulation  # as torch has it of old cards

    monkeypatch.setattr(encoder_dtype, "on_gpu", lambda: on_gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    for settings in ({}, {"dtype": "auto"}):
        assert settled_dtype(settings) == {"dtype": expected}
    assert settled_dtype({"dtype": "float16"}) == {"dtype": "float16"}


@pytest.mark.parametrize("make", [SiglipEncoder, BEiT3Encoder, CLIPEncoder])
def test_another_type_is_refused(make):
    with pytest.raises(ValueError, match="^dtype='half' is not one of auto, bfloat16, float16, float32"):
        make("a", dtype="half")

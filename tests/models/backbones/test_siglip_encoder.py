import io
import json
import pickle

import pytest
import torch
import torch.nn.functional as F
from transformers import (
    CLIPTextConfig,
    GemmaTokenizer,
    Siglip2Config,
    Siglip2ImageProcessor,
    Siglip2Model,
    Siglip2Tokenizer,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
)

from diptych.models.backbones.siglip_encoder import SiglipEncoder

pytestmark = pytest.mark.models

LETTERS = "abcdefghijklmnopqrstuvwxyz"
VOCABULARY = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "<mask>": 4} | {
    letter: number for number, letter in enumerate("▁" + LETTERS + LETTERS.upper(), start=5)
}
GOOD = {"padding_side": "right", "add_bos_token": False, "add_eos_token": True}
TOWER = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = TOWER | {"vocab_size": len(VOCABULARY), "max_position_embeddings": 64, "projection_size": 16}
HALF = [0.5, 0.5, 0.5]


def gemma(**settings):
    return GemmaTokenizer(vocab=VOCABULARY, merges=[], **(GOOD | settings))


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def save(folder, model, processor, tokenizer):
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        for parameter in model.parameters():  # as drawn by the classes, all embeddings would be nearly the same
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    for part in (model, processor, tokenizer):
        part.save_pretrained(folder)
    return folder


@pytest.fixture
def fixed(tmp_path):
    """`fixed(tokenizer, image_size=...)`: a folder with a tiny SigLIP of fixed resolution."""

    def make(tokenizer=None, processor_size=24, **text):
        config = SiglipConfig(
            text_config=TEXT | text, vision_config=TOWER | {"image_size": 24, "patch_size": 8, "num_channels": 3}
        )
        size = {"height": processor_size, "width": processor_size}
        processor = SiglipImageProcessor(size=size, resample=2, image_mean=HALF, image_std=HALF)
        return save(tmp_path / "fixed", SiglipModel(config), processor, tokenizer or gemma())

    return make


@pytest.fixture
def naflex(tmp_path):
    config = Siglip2Config(text_config=TEXT, vision_config=TOWER | {"num_patches": 16, "patch_size": 4})
    tokenizer = Siglip2Tokenizer(vocab=VOCABULARY, merges=[], **GOOD)
    processor = Siglip2ImageProcessor(patch_size=4, max_num_patches=20)
    return save(tmp_path / "naflex", Siglip2Model(config), processor, tokenizer)


def loaded(folder, **settings):
    encoder = SiglipEncoder(str(folder), **settings)
    encoder.load()
    return encoder


def photos():
    generator = torch.Generator().manual_seed(0)
    sizes = ((40, 60), (90, 30), (7, 9))
    return [torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator) for size in sizes]


# ------------------------------------------------------------------------------------------- pictures


def test_fixed_resolution_is_transformers_own_result(fixed):
    folder = fixed()
    encoder, model = loaded(folder), SiglipModel.from_pretrained(folder, dtype=torch.float32).eval()
    pixels = torch.stack([encoder.transform(photo) for photo in photos()])
    assert pixels.shape == (3, 3, 24, 24) and pixels.dtype == torch.uint8
    embeddings = encoder.embed_images(pixels)
    theirs = SiglipImageProcessor.from_pretrained(folder)(images=photos(), return_tensors="pt")["pixel_values"]
    expected = F.normalize(model.get_image_features(pixel_values=theirs).pooler_output, dim=-1)
    torch.testing.assert_close(embeddings, expected, rtol=0, atol=1e-5)
    assert embeddings.dtype == torch.float32 and not embeddings.requires_grad
    assert (embeddings @ embeddings.T - torch.eye(3)).abs().max() < 0.999  # photos differ


def test_naflex_is_transformers_own_result(naflex):
    encoder, model = loaded(naflex), Siglip2Model.from_pretrained(naflex, dtype=torch.float32).eval()
    inputs = [encoder.transform(photo) for photo in photos()]
    for item in inputs:
        assert {key: tuple(value.shape) for key, value in item.items()} == {
            "pixel_values": (20, 48),
            "pixel_attention_mask": (20,),
            "spatial_shapes": (2,),
        }
        assert item["spatial_shapes"].prod() == item["pixel_attention_mask"].sum()
    embeddings = encoder.embed_images(torch.utils.data.default_collate(inputs))
    theirs = Siglip2ImageProcessor.from_pretrained(naflex)(images=photos(), return_tensors="pt")
    expected = F.normalize(model.get_image_features(**theirs).pooler_output, dim=-1)
    torch.testing.assert_close(embeddings, expected, rtol=0, atol=1e-5)


def test_transforms_travel_without_weights(fixed, naflex):
    for folder in (fixed(), naflex):
        transform = SiglipEncoder(str(folder)).transform  # before load
        data = pickle.dumps(transform)
        assert len(data) < 3000
        torch.testing.assert_close(pickle.loads(data)(photos()[0]), transform(photos()[0]), rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["fixed", "naflex"])
def test_half_precision(request, kind):
    folder = request.getfixturevalue(kind)
    folder = folder() if kind == "fixed" else folder
    whole, half = (loaded(folder, dtype=dtype) for dtype in ("auto", "bfloat16"))
    assert whole.model.dtype == torch.float32 and half.model.dtype == torch.bfloat16
    pixels = torch.utils.data.default_collate([whole.transform(photo) for photo in photos()])
    for one, two in (
        (whole.embed_images(pixels), half.embed_images(pixels)),
        (whole.embed_texts(["a", "b"]), half.embed_texts(["a", "b"])),
    ):
        assert two.dtype == torch.float32 and (one * two).sum(dim=1).min() > 0.999


# ------------------------------------------------------------------------------------------- texts


@pytest.mark.parametrize("kind", ["fixed", "naflex"])
def test_texts_are_lower_case_ended_and_padded_without_a_mask(request, kind):
    folder = request.getfixturevalue(kind)
    folder = folder() if callable(folder) else folder
    encoder = loaded(folder)
    model = (SiglipModel if kind == "fixed" else Siglip2Model).from_pretrained(folder, dtype=torch.float32).eval()
    ids = [[*(VOCABULARY[letter] for letter in text), 1] for text in ("a▁cat", "sea")]
    ids = torch.tensor([row + [0] * (64 - len(row)) for row in ids])
    expected = F.normalize(model.get_text_features(input_ids=ids).pooler_output, dim=-1)
    torch.testing.assert_close(encoder.embed_texts(["A Cat", "sea"]), expected, rtol=0, atol=1e-6)
    masked = F.normalize(model.get_text_features(input_ids=ids, attention_mask=(ids != 0).long()).pooler_output, dim=-1)
    assert (expected - masked).abs().max() > 0.01  # the mistake would show


def test_the_original_siglip_tokenizer_whose_pad_is_its_end(fixed, tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece")
    pytest.importorskip("google.protobuf")
    from transformers import SiglipTokenizer

    content = io.BytesIO()
    texts = ["a cat on the beach", "two dogs and a car", "the red house"] * 5
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=content, vocab_size=22, unk_id=2, eos_id=1, pad_id=0, bos_id=-1,
        minloglevel=2, num_threads=1,
    )  # fmt: skip
    (tmp_path / "spiece.model").write_bytes(content.getvalue())
    encoder = loaded(fixed(SiglipTokenizer(str(tmp_path / "spiece.model"), model_max_length=64), vocab_size=22))
    same = encoder.embed_texts(["A red cat.", "a red cat"])
    torch.testing.assert_close(same[0], same[1])  # it drops punctuation, too


@pytest.mark.parametrize(
    ("tokenizer", "text", "message"),
    [
        ({"padding_side": "left"}, {}, "pads on the left"),
        ({"add_bos_token": True}, {}, "puts a token before the text"),
        ({"add_eos_token": False}, {}, "does not end a text with its end token"),
        ({"model_max_length": 32}, {}, "is for texts of 32 tokens, the model for 64"),
        ({}, {"vocab_size": 20}, "has 58 tokens, the model 20"),
        ({}, {"vocab_size": 250_000 // 100}, "has 58 tokens, the model 2500"),
        ({"vocab": {name: VOCABULARY[name] for name in list(VOCABULARY)[:10]}}, {}, "does not know the words"),
    ],
)
def test_a_wrong_tokenizer_stops(fixed, tokenizer, text, message):
    settings = GOOD | {"vocab": VOCABULARY, "merges": []} | tokenizer
    encoder = SiglipEncoder(str(fixed(GemmaTokenizer(**settings), **text)))
    with pytest.raises(ValueError, match=rf"fixed: its tokenizer \(GemmaTokenizer\) .*{message}"):
        encoder.load()
    with pytest.raises(ValueError, match="are not loaded yet: call load"):
        encoder.embed_texts(["a"])


def test_the_classes_without_the_hubs_settings_stop(fixed, naflex):
    Siglip2Tokenizer(vocab=VOCABULARY, merges=[]).save_pretrained(naflex)
    with pytest.raises(ValueError, match=r"\(Siglip2Tokenizer\) pads on the left"):
        SiglipEncoder(str(naflex)).load()


# ------------------------------------------------------------------------------------------- folders


def test_what_is_no_siglip_checkpoint(fixed, naflex, tmp_path):
    missing = SiglipEncoder(str(tmp_path / "none"))  # construction reads nothing
    with pytest.raises(ValueError, match="none: its configuration is not on this machine .*name a folder"):
        missing.load()
    with pytest.raises(ValueError, match="none: its image processor is not on this machine"):
        _ = missing.transform
    with pytest.raises(ValueError, match="package no_such_package is not installed"):
        SiglipEncoder("package:no_such_package/model").load()
    CLIPTextConfig().save_pretrained(tmp_path / "clip")
    with pytest.raises(ValueError, match="clip is a clip_text_model model; SiglipEncoder takes siglip and siglip2"):
        SiglipEncoder(str(tmp_path / "clip")).load()


def test_an_image_processor_of_another_model(fixed, naflex):
    with pytest.raises(ValueError, match="makes pictures of 32 pixels, which is not what its siglip model reads"):
        SiglipEncoder(str(fixed(processor_size=32))).load()
    folder = fixed()
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    for wrong in ({"size": {"shortest_edge": 24}}, {"resample": 0}, {"do_rescale": False}):
        (folder / "preprocessor_config.json").write_text(json.dumps(settings | wrong))
        with pytest.raises(ValueError, match="does not squash pictures to a square and normalise them"):
            _ = SiglipEncoder(str(folder)).transform
    SiglipImageProcessor(size={"height": 16, "width": 16}).save_pretrained(naflex)
    with pytest.raises(ValueError, match="not what its siglip2 model reads"):
        SiglipEncoder(str(naflex)).load()


def test_missing_weights_are_not_made_up(fixed):
    from safetensors.torch import load_file, save_file

    path = fixed() / "model.safetensors"
    tensors = load_file(path)
    del tensors["text_model.head.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="fixed lacks weights: text_model.head.weight"):
        SiglipEncoder(str(path.parent)).load()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="fixed: its model is not on this machine .* or cannot be read"):
        SiglipEncoder(str(path.parent)).load()

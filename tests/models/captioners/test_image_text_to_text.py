from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
import transformers
from PIL import Image

from diptych.models.captioners.caption import Caption, DecodingSettings
from diptych.models.captioners.image_text_to_text import ImageTextCaptioner

pytestmark = pytest.mark.models

TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message.role }}\n{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
SHORT = DecodingSettings(max_new_tokens=12, min_new_tokens=4, num_beams=2)


NARROW = {"hidden_size": 32, "intermediate_size": 64}


@pytest.fixture(scope="module", params=["Qwen2_5_VL", "Qwen3VL"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_chat_model: Path) -> Path:
    """A vision-language model of one narrow layer with its processor; random weights."""
    family = request.param
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_chat_model)
    special = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|start|>", *special]})
    start, end, image, video = tokenizer.convert_tokens_to_ids(special)
    layers = {
        "Qwen2_5_VL": {"fullatt_block_indexes": [0]},
        "Qwen3VL": {"deepstack_visual_indexes": [0], "num_position_embeddings": 64},
    }
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(
        text_config={
            **NARROW,
            "vocab_size": len(tokenizer),
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0},
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={**NARROW, **layers[family], "depth": 1, "num_heads": 2, "out_hidden_size": 32},
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    model = getattr(transformers, f"{family}ForConditionalGeneration")(config)
    for parameter in model.parameters():  # as initialised, the photo would be lost on the way
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    model.generation_config.update(do_sample=True, temperature=0.1, top_k=1)  # as checkpoints have; must not count
    path = tmp_path_factory.mktemp(family)
    model.save_pretrained(path)
    patches = {"size": {"shortest_edge": 64 * 64, "longest_edge": 128 * 128}}
    if family == "Qwen3VL":
        patches |= {"patch_size": 16, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    getattr(transformers, f"{family}Processor")(
        transformers.Qwen2VLImageProcessor(**patches),
        tokenizer,
        (transformers.Qwen2VLVideoProcessor if family == "Qwen2_5_VL" else transformers.Qwen3VLVideoProcessor)(),
        chat_template=TEMPLATE,
    ).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def captioner(folder: Path) -> ImageTextCaptioner:
    model = ImageTextCaptioner(str(folder), "Say what is there.", "none", "float32", 64, SHORT)
    model.load()
    return model


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    noise = torch.Generator().manual_seed(1)
    sizes = [(64, 48), (60, 30), (30, 60)]
    return [
        Image.fromarray(torch.randint(0, 256, (h, w, 3), dtype=torch.uint8, generator=noise).numpy()) for w, h in sizes
    ]


def test_a_batch_is_what_its_photos_are_alone(captioner, photos):
    together = captioner.describe(photos)
    assert together == [captioner.describe([photo])[0] for photo in photos]
    assert together == captioner.describe(photos)
    assert len({caption.text for caption in together}) > 1  # the photo is looked at
    assert all("Say what" not in caption.text for caption in together)


def test_the_limit_of_tokens_and_the_end(captioner, photos):
    (long,) = captioner.describe(photos[:1])
    assert long.stop_reason == "length"
    end = captioner._processor.tokenizer.eos_token_id
    tokens = torch.tensor([*captioner._processor.tokenizer.encode(" a  tower\n"), end, 0, 0])
    assert captioner._caption(tokens[:-2], {end}) == Caption("a tower", "stop")


def test_new_tokens_are_counted(folder, photos, monkeypatch):
    model = ImageTextCaptioner(str(folder), "x", "none", "float32", 64, DecodingSettings(7, 7, 1))
    model.load()
    seen = []
    generate = type(model._model).generate
    monkeypatch.setattr(
        type(model._model),
        "generate",
        lambda self, **inputs: seen.append((inputs["input_ids"], generate(self, **inputs))) or seen[-1][1],
    )
    model.describe(photos)
    prompt, output = seen[0]
    assert output.shape[1] == prompt.shape[1] + 7
    assert (output[:, : prompt.shape[1]] == prompt).all()


def test_blank_captions_are_tried_once_more(captioner, photos, monkeypatch):
    tries = []

    def answers(some, decoding):
        tries.append((len(some), decoding.length_penalty, decoding.repetition_penalty))
        return [Caption("" if len(some) == 1 or photo is some[1] else "seen", "stop") for photo in some]

    monkeypatch.setattr(captioner, "_answers", answers)
    assert [caption.text for caption in captioner.describe(photos)] == ["seen", "", "seen"]
    assert tries == [(3, 1.0, 1.1), (1, 1.2, 1.12)]


def test_int8_runs_and_weights_stay_behind(folder, photos):
    model = ImageTextCaptioner(str(folder), "Say what is there.", "int8", "bfloat16", 64, SHORT)
    model.load()
    assert "Linear8bitLt" in {type(module).__name__ for module in model.modules()}
    assert len(model.describe(photos[:2])) == 2
    data = pickle.dumps(model)
    assert len(data) < 3000
    with pytest.raises(ValueError, match=r"call load\(\) first"):
        pickle.loads(data).describe(photos)


def test_photos_are_read_upright_and_small(captioner, tmp_path):
    picture = Image.new("RGB", (200, 100), "red")
    exif = picture.getexif()
    exif[0x0112] = 6  # to be turned by a quarter
    picture.save(tmp_path / "turned.jpg", exif=exif)
    photo = captioner.read(tmp_path / "turned.jpg")
    assert (photo.size, photo.mode) == ((32, 64), "RGB")
    Image.new("L", (8, 8)).save(tmp_path / "grey.png")
    assert captioner.read(tmp_path / "grey.png").mode == "RGB"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"", "is empty"),
        (b"text", "is not a readable image"),
        ("cut", "truncated"),
    ],
)
def test_photos_that_cannot_be_read(captioner, tmp_path, content, message):
    path = tmp_path / "photo.jpg"
    if content == "cut":
        Image.effect_noise((64, 64), 50).save(path)
        content = path.read_bytes()[:-200]
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"photo.jpg.*{message}"):
        captioner.read(path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quantization": "int4"}, "quantization='int4' is not one of int8, none"),
        ({"dtype": "half"}, "dtype='half' is not one of"),
        ({"instruction": " "}, "instruction=' ' is blank"),
        ({"max_side": 0}, "max_side=0"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        ImageTextCaptioner(**{"name": "x", "instruction": "y", **settings})


def test_decoding_that_makes_no_sense():
    with pytest.raises(ValueError, match="min_new_tokens=9, max_new_tokens=8"):
        DecodingSettings(max_new_tokens=8, min_new_tokens=9)
    with pytest.raises(ValueError, match="num_beams=0"):
        DecodingSettings(num_beams=0)


def test_a_model_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="is not on this machine and cannot be downloaded"):
        ImageTextCaptioner(str(tmp_path / "none"), "x", "none", "float32").load()
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="dtype=float16 is for GPUs"):
            ImageTextCaptioner("x", "x", "none", "float16").load()


def test_a_model_without_chat_template(folder, tmp_path):
    import shutil

    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "chat_template.jinja").unlink()
    with pytest.raises(ValueError, match="has no chat template"):
        ImageTextCaptioner(str(copy), "x", "none", "float32").load()

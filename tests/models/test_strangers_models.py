"""A model's folder brings weights and settings: code beside them never runs, and nobody is asked whether it may."""

from __future__ import annotations

import builtins
import importlib
import json
import pickle
import shutil
import struct

import pytest
import torch

from canary import CODE, watched
from diptych.annotation.askers.local import LocalAsker
from diptych.models.backbones.siglip_encoder import SiglipEncoder
from diptych.models.captioners.image_text_to_text import ImageTextCaptioner
from diptych.models.fuser.chat_tokenizer import ChatTokenizer
from diptych.models.fuser.qlora_fuser import QLoRAFuser
from diptych.models.sentence_encoder import SentenceTransformerEncoder
from diptych.text.spacy_pipeline import load_pipeline

pytestmark = [pytest.mark.models, pytest.mark.hostile("hostile models")]

LOADERS = {
    "fuser": lambda name: QLoRAFuser(name, quantization="none", dtype="float32").load("cpu"),
    "tokenizer": lambda name: ChatTokenizer(name).hf,
    "siglip": lambda name: SiglipEncoder(name).load(),
    "image processor": lambda name: SiglipEncoder(name).transform,
    "captioner": lambda name: ImageTextCaptioner(name, "say", quantization="none", dtype="float32").load(),
    "asker": lambda name: LocalAsker(name)._load(),
    "sentences": lambda name: SentenceTransformerEncoder(name, device="cpu").encode(["a"]),
}


@pytest.fixture(autouse=True)
def nobody_is_asked(monkeypatch):
    def asked(*words):
        raise AssertionError(f"somebody was asked: {words}")

    monkeypatch.setattr(builtins, "input", asked)


@pytest.fixture
def folder_with_code(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "evil.py").write_text(CODE + "class Evil:\n    pass\n")
    kinds = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoModelForImageTextToText", "AutoTokenizer",
             "AutoProcessor", "AutoImageProcessor")  # fmt: skip
    auto = {"auto_map": dict.fromkeys(kinds, "evil.Evil")}
    auto["auto_map"]["AutoTokenizer"] = ["evil.Evil", "evil.Evil"]
    for name, own in (
        ("config", {"model_type": "evil", "architectures": ["Evil"]}),
        ("tokenizer_config", {"tokenizer_class": "Evil"}),
        ("processor_config", {"processor_class": "Evil"}),
        ("preprocessor_config", {"image_processor_type": "Evil"}),
    ):
        (model / f"{name}.json").write_text(json.dumps({**own, **auto}))
    return model


@pytest.mark.parametrize("loader", LOADERS)
def test_code_beside_a_model_is_not_run(loader, folder_with_code):
    importlib.import_module("sentence_transformers")  # which makes folders for wandb
    with (
        watched(folder_with_code),
        pytest.raises(ValueError, match=r"(?s)model: its .*(code of its own|cannot be read)"),
    ):
        LOADERS[loader](str(folder_with_code))


def test_a_module_of_a_sentence_encoder_is_the_librarys(tiny_sentence_model, tmp_path):
    model = shutil.copytree(tiny_sentence_model, tmp_path / "model")
    (model / "evil.py").write_text(CODE)
    for kind in ("evil.Evil", "os.system", "subprocess.Popen"):
        modules = json.loads((tiny_sentence_model / "modules.json").read_text())
        modules[0]["type"] = kind
        (model / "modules.json").write_text(json.dumps(modules))
        with watched(model), pytest.raises(ValueError, match="sentence encoder wants code of its own"):
            SentenceTransformerEncoder(str(model), device="cpu").encode(["a"])


class Payload:
    def __reduce__(self):
        return exec, ("raise SystemExit('code ran')",)


def test_a_pickle_with_a_payload(tiny_chat_model, tmp_path):
    model = shutil.copytree(tiny_chat_model, tmp_path / "model")
    (model / "model.safetensors").unlink()
    torch.save({"a": Payload()}, model / "pytorch_model.bin", pickle_module=pickle)
    with (
        watched(model),
        pytest.raises(ValueError, match="model: its language model holds more than numbers .*safetensors") as e,
    ):
        LOADERS["fuser"](str(model))
    assert "\n" not in str(e.value)


def safetensors(header: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 8,
        safetensors(b"{", 2**60),
        safetensors(b"[" * 10_000),
        safetensors(json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()),
        safetensors(json.dumps({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 0]}}).encode()),
    ],
)
def test_absurd_safetensors(tiny_chat_model, tmp_path, data):
    model = shutil.copytree(tiny_chat_model, tmp_path / "model")
    (model / "model.safetensors").write_bytes(data)
    with watched(model), pytest.raises(ValueError, match="model: its language model .*cannot be read") as error:
        LOADERS["fuser"](str(model))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("loader", ["fuser", "tokenizer"])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GGUF",
        b"GGUF" + struct.pack("<IQQ", 3, 2**40, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2**40),
        b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + struct.pack("<Q", 2**62) + b"x",
    ],
)
def test_absurd_gguf(tmp_path, loader, data):
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    with watched(tmp_path), pytest.raises(ValueError, match=r"model\.gguf: its .*cannot be read") as error:
        LOADERS[loader](str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("loader", ["fuser", "tokenizer", "siglip", "captioner"])
def test_an_adapter_is_no_model(tiny_chat_model, tmp_path, loader):
    model = shutil.copytree(tiny_chat_model, tmp_path / "model")
    (model / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": "evil/base", "peft_type": "LORA"})
    )
    with watched(model), pytest.raises(ValueError, match=r"adapter_config\.json says that it is an adapter"):
        LOADERS[loader](str(model))


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ cycler.__init__.__globals__.os.system('x') }}",
        "{% for a in range(10**12) %}a{% endfor %}",
        "{{ raise_exception('no') }}",
        "{{ 1 / 0 }}",
        "{% include '/etc/passwd' %}",
        "{{ messages[7].content.x.y }}",
        "{% broken",
        "{{ 'a' * 10**9 }}",
        "{% set n = namespace(x='a') %}{% for i in range(40) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
        "{{ '%10000000000d' % 1 }}",
        "{{ 'a'.center(10**9) }}",
        "{{ 'aaaa' * 10**6 * 2 }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    ],
)
def test_a_template_that_reaches_further(tiny_chat_model, tmp_path, template):
    model = shutil.copytree(tiny_chat_model, tmp_path / "model")
    (model / "chat_template.jinja").write_text(template)
    with watched(model), pytest.raises(ValueError, match=r"model: its chat template \(chat_template\.jinja"):
        ChatTokenizer(str(model)).render("a")


@pytest.mark.slow
@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(10**5) %}{% for b in range(10**5) %}{% endfor %}{% endfor %}",
        "{{ 10 ** (10 ** 10) }}",
        "{% set n = namespace(x=[1]) %}{% for i in range(40) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
    ],
)
def test_a_template_without_an_end(tiny_chat_model, tmp_path, template, monkeypatch):
    monkeypatch.setattr("diptych.models.chat_template._CPU_S", 1)
    model = shutil.copytree(tiny_chat_model, tmp_path / "model")
    (model / "chat_template.jinja").write_text(template)
    with watched(model), pytest.raises(ValueError, match=r"chat_template\.jinja .*it takes more than 1 s"):
        ChatTokenizer(str(model)).render("a")


@pytest.mark.parametrize("name", ["evil_spacy", "pip", "os", "this", "blank:en", "blank:../x", "en", "spacy"])
def test_a_name_of_spacy_imports_no_package(tmp_path, monkeypatch, name):
    pytest.importorskip("spacy")
    (tmp_path / "evil_spacy.py").write_text(CODE + "def load(**k):\n    pass\n")
    (tmp_path / "evil_spacy-1.0.dist-info").mkdir()
    (tmp_path / "evil_spacy-1.0.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: evil_spacy\nVersion: 1.0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with watched(tmp_path), pytest.raises(ValueError, match="cannot be loaded .no such model is installed"):
        load_pipeline(name, ())

"""A wrong value is answered with the key that the user types; `auto` is decided where the trainer is built."""

import re
import subprocess
import sys

import hydra
import pytest
import torch
from omegaconf import OmegaConf

from diptych.config import building, folder
from diptych.config.building import build, chosen_precision, typed_key
from diptych.config.resolvers import register_resolvers
from diptych.config.short_names import with_full_names

ROOMS, HOTEL, NEWS = ["experiment=cir_rooms"], ["experiment=cir_hotel"], ["experiment=fuser_openevents"]
ASKING = ["pipeline=annotate_triplets", "pairs=pairs.json", "out=out", "model=m"]
AGREEING = [*ASKING, "agreement=clip"]
SEARCHING = ["pipeline=news_retrieval", "data=newsroom"]
DESCRIBING = ["pipeline=news_retrieval", "data=openevents"]
SERVER = ["captioner=server", "captioner.client.model=m"]
SETTINGS, TOKENIZER, FILTERS = "system.generator.settings", "data.preparation.tokenizer", "combining.filters"


def compose(*overrides):
    register_resolvers()
    name = "pipeline" if any(word.startswith("pipeline=") for word in overrides) else "train"
    with hydra.initialize_config_dir(str(folder.CONFIG_FOLDER), version_base="1.3"):
        return hydra.compose(name, overrides=with_full_names(overrides))


WRONG = [  # how it is composed, what is built of it, the wrong setting, how the message begins
    (ROOMS, "system.model", "system.model.num_heads=7", "system.model.num_heads=7 does not divide"),
    (ROOMS, "system.loss", "system.loss.temperature=0.001", "system.loss.temperature=0.001 is under 0.01"),
    (ROOMS, "system", "system.model.backbone.freeze=top", "system.model.backbone.freeze='top' is not one of"),
    (HOTEL, "system", "system.model.backbone.name=no", "system.model.backbone.name='no' is not an open_clip model"),
    (HOTEL, "data.preprocessing", "system.model.backbone.name=no", "system.model.backbone.name='no' is not an open_"),
    ([*HOTEL, "system/model=sum"], "system", "system.model.kind=product", "system.model.kind='product' is not one of"),
    (ROOMS, "callbacks.checkpointing", "callbacks.checkpointing.mode=up", "callbacks.checkpointing.mode='up' is not"),
    (NEWS, "system.model", "system.model.rank=0", "system.model.rank=0, system.model.alpha=0 ("),
    (NEWS, "system.model", "system.model.dtype=int", "system.model.dtype='int' is not one of"),
    (NEWS, "system.loss", "system.loss.chunk_size=0", "system.loss.chunk_size=0 must be 1 or more"),
    (
        NEWS,
        "system.generator",
        f"{SETTINGS}.temperature=0",
        f"{SETTINGS}.temperature=0 must be above 0; or set ",
    ),
    (
        [*NEWS, f"{SETTINGS}.num_candidates=2", "system.generator.encoder=null"],
        "system.generator",
        f"{SETTINGS}.consensus=embedding",
        f"{SETTINGS}.consensus=embedding needs a sentence encoder: system.generator.encoder=null",
    ),
    (
        [*NEWS, f"{SETTINGS}.num_candidates=2", "system.generator.claim_checker=null"],
        "system.generator",
        f"{SETTINGS}.choice=support",
        f"{SETTINGS}.choice=support needs a checker of claims: system.generator.claim_checker=null",
    ),
    (NEWS, "data.preparation.tokenizer", f"{TOKENIZER}.thinking=loud", f"{TOKENIZER}.thinking='loud' is not one of"),
    (ASKING, "stages.describe_target", "concurrency=0", "concurrency=0, asker.client.timeout_s=120.0, asker.client."),
    (
        ASKING,
        "stages.describe_target",
        "asker.client.structured=maybe",
        "asker.client.structured='maybe' is not",
    ),
    (
        [*ASKING, "asker=batch"],
        "asking",
        "asker.max_requests=0",
        "asker.max_requests=0, asker.max_bytes=190000000, ",
    ),
    ([*ASKING, "asker=local"], "asking", "asker.dtype=half", "asker.dtype='half' is not one of"),
    (ASKING, "stages.describe_target", "asking.picture_form.detail=no", "asking.picture_form.detail='no', asking.pict"),
    (
        ASKING,
        "stages.combine",
        f"{FILTERS}.length.min_words=99",
        f"{FILTERS}.length.min_words=99 must be",
    ),
    (ASKING, "stages.combine", f"{FILTERS}.diversity.max_overlap=0", f"{FILTERS}.diversity.max_overlap=0 must be"),
    (AGREEING, "filtering.agreement", "filtering.agreement.margin=3", "filtering.agreement.margin=3 is no cosine"),
    (SEARCHING, "encoders.colour_layout", "encoders.colour_layout.grid=1", "encoders.colour_layout.grid=1: a layout"),
    (DESCRIBING, "captioner", "captioner.quantization=int4", "captioner.quantization='int4' is not one of"),
    (DESCRIBING, "captioner", "captioner.instruction=' '", "captioner.instruction=' ' is blank"),
    (DESCRIBING, "captioner", "captioner.decoding.num_beams=0", "captioner.decoding.num_beams=0, captioner.decoding."),
    ([*DESCRIBING, *SERVER], "captioner", "captioner.max_tokens=0", "captioner.max_tokens=0, captioner.max_side=1024"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("composed", "part", "wrong", "message"), WRONG, ids=[wrong for _, _, wrong, _ in WRONG])
def test_a_wrong_value_is_named_as_it_is_typed(composed, part, wrong, message):
    node = OmegaConf.select(compose(*composed, wrong), part)
    with pytest.raises(ValueError) as caught:
        build(node, _convert_="all")
    assert str(caught.value).startswith(message)
    for key in re.findall(r"(?<![\w.])([a-z_]\w*(?:\.\w+)*)=", str(caught.value)):
        compose(*composed, f"{key}=null")  # Hydra takes every key that the message names


def test_errors_that_name_no_setting_come_out_as_they_are():
    config = OmegaConf.create({"part": {"_target_": "json.loads", "s": "[1"}})
    with pytest.raises(ValueError, match="^Expecting ',' delimiter"):
        build(config.part)
    with pytest.raises(ValueError, match="^base=99 is odd"):  # an argument that the config does not hold
        build(OmegaConf.create({"part": {"_target_": f"{__name__}.refuse"}}).part)
    with pytest.raises(ValueError, match="^base=99 is odd"):  # a config without a path
        build(OmegaConf.create({"_target_": f"{__name__}.refuse", "base": 99}))
    with pytest.raises(ValueError, match="^part.base=99 is odd, as other=1"):
        build(OmegaConf.create({"part": {"_target_": f"{__name__}.refuse", "base": 99}}).part)


def refuse(base=99):
    raise ValueError(f"base={base} is odd, as other=1")


def test_typed_key_follows_interpolations():
    config = {
        "a": {"b": {"c": "${..d}", "e": "${x.y}"}, "d": "${top}"},
        "top": 1,
        "x": {"y": {"z": 2}},
        "list": ["${x}"],
    }
    for path, key in {
        "a.b.c": "top",
        "a.b.e.z": "x.y.z",
        "list.0.y.z": "x.y.z",
        "a.b": "a.b",
    }.items():
        assert typed_key(config, path) == key
    with pytest.raises(LookupError):
        typed_key(config, "a.q")


# ---------------------------------------------------------------------------------------------------- precision


@pytest.mark.parametrize(
    ("gpu", "cpu", "precision"),
    [
        ((9, 0), {}, "bf16-mixed"),
        ((8, 0), {}, "bf16-mixed"),
        ((7, 5), {"avx512_bf16": True}, "16-mixed"),
        ((7, 0), {}, "16-mixed"),
        ((6, 1), {"avx512_bf16": True}, "32-true"),
        (None, {"avx512_bf16": True}, "bf16-mixed"),
        (None, {"amx_tile": True}, "bf16-mixed"),
        (None, {"amx_tile": False}, "32-true"),
    ],
)
def test_auto_is_bf16_where_the_hardware_computes_in_it(gpu, cpu, precision, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu is not None)
    # As torch answers: with emulation every GPU has it.
    supported = lambda including_emulation=True: including_emulation or gpu >= (8, 0)  # noqa: E731
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: gpu)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: cpu)
    assert chosen_precision(OmegaConf.create({"precision": "auto"})) == precision
    assert chosen_precision(OmegaConf.create({"precision": "16-mixed"})) == "16-mixed"
    trainer = {"_target_": "lightning.pytorch.Trainer", "accelerator": "cpu", "logger": False}
    own = {
        "precision": "${precision:auto}",
        "enable_checkpointing": False,
        "barebones": True,
    }  # as earlier runs have it
    register_resolvers()
    if precision != "16-mixed":  # which Lightning has for GPUs alone
        assert building.build_trainer(OmegaConf.create({**trainer, **own})).precision == precision


def test_composing_decides_no_precision_and_imports_no_torch():
    script = f"""
import sys, hydra
from diptych.config.resolvers import register_resolvers
from omegaconf import OmegaConf
register_resolvers()
with hydra.initialize_config_dir({str(folder.CONFIG_FOLDER)!r}, version_base="1.3"):
    config = hydra.compose("train", overrides=["experiment=cir_hotel"])
assert OmegaConf.to_container(config.trainer, resolve=True)["precision"] == "auto"
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_gpu_that_is_not_there_is_answered_before_anything_is_built(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr("diptych.parallel.devices.check_gpu_usable", lambda: None)
    for hidden, said in (("-1", r" \(CUDA_VISIBLE_DEVICES='-1' hides those that there may be\)"), ("0", "")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        with pytest.raises(ValueError, match=rf"accelerator=gpu: there is no GPU here{said}; trainer=cpu or"):
            building.ready_trainer(OmegaConf.create({"_target_": "nobody.builds.This", "accelerator": "gpu"}))

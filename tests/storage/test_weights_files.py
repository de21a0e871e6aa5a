"""What a file of weights is, told without reading a tensor, running code or importing torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from diptych.storage.weights_files import kind_of, tensor_shapes, weights_in


class Bomb:
    """Whose unpickling ends the process."""

    def __reduce__(self):
        return (os._exit, (3,))


NAMES = {
    "clip": ["visual.conv1.weight", "positional_embedding"],
    "siglip": ["vision_model.head.probe", "text_model.head.weight"],
    "adapter": ["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"],
    "language model": ["model.layers.0.self_attn.q_proj.weight"],
    "other": ["fc.weight"],
}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("ending", [".safetensors", ".pt", "of a training"])
def test_names_of_tensors_tell_the_kind(kind, ending, tmp_path):
    weights = {name: torch.zeros(2, 3) for name in NAMES[kind]}
    path = tmp_path / f"weights{ending}"
    if ending == ".safetensors":
        save_file(weights, path)
        assert tensor_shapes(path) == dict.fromkeys(NAMES[kind], (2, 3))
    elif ending == ".pt":
        torch.save(weights, path)
    else:
        of_ranks = {f"module.{name}": tensor for name, tensor in weights.items()}
        torch.save({"state_dict": of_ranks, "args": Bomb()}, path)
    assert kind_of(path) == kind


def test_a_checkpoint_of_ours_is_one_whatever_its_weights_are_called(tmp_path):
    torch.save({"state_dict": {"model.visual.x": torch.zeros(1)}, "diptych": {"format": 3}}, tmp_path / "best.ckpt")
    assert kind_of(tmp_path / "best.ckpt") == "checkpoint"


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"config.json": {"model_type": "clip"}}, "clip"),
        ({"config.json": {"model_type": "siglip2"}}, "siglip"),
        ({"config.json": {"model_type": "llama"}}, "language model"),
        ({"config.json": {}}, "other"),
        ({"open_clip_config.json": {}, "config.json": {"model_type": "llama"}}, "clip"),
        ({"adapter_config.json": {}, "config.json": {"model_type": "llama"}}, "adapter"),
        ({"config.yaml": {}}, "checkpoint"),
        ({}, "other"),
    ],
)
def test_descriptions_tell_what_a_folder_is(files, kind, tmp_path):
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    assert kind_of(tmp_path) == kind


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04" + bytes(40), b"\xff" * 100])
@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_what_is_no_weights_is_nothing_known(content, ending, tmp_path):
    path = tmp_path / f"x{ending}"
    path.write_bytes(content)
    assert kind_of(path) == "other" and kind_of(tmp_path / "nothing") == "other"


def test_weights_in_several_files_are_said(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ValueError, match=r"several files \(model.safetensors.index.json\); save them in one"):
        weights_in(tmp_path)


@pytest.mark.processes
def test_it_costs_no_torch():
    code = "import sys, diptych.config.own_weights; sys.exit('torch' in sys.modules or 'open_clip' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

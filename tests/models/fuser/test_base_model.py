from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from diptych.models.fuser.base_model import BaseModel

PLAIN = BaseModel("a folder", quantization="none", attention="sdpa", dtype="float32")
CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quantization": "int4"}, r"quantization='int4' is not one of int8, nf4, none"),
        ({"attention": "eager"}, r"attention='eager' is not one of"),
        ({"dtype": "half"}, r"dtype='half' is not one of"),
        ({"name": "a/b.gguf", "quantization": "nf4"}, r"quantization=nf4 cannot be applied to a/b\.gguf"),
        ({"attention": "flash_attention_2", "dtype": "float32"}, r"flash_attention_2 has no float32"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_construction(settings, message):
    with pytest.raises(ValueError, match=message):
        replace(PLAIN, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"attention": "flash_attention_2", "dtype": "bfloat16"},
            r"flash_attention_2 needs CUDA and the package flash-attn \(device: cpu\)",
        ),
        ({"dtype": "float16"}, r"dtype=float16 is for GPUs"),
    ],
)
def test_settings_that_the_device_cannot_do_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        replace(PLAIN, **settings).check_device(CPU)


def test_a_model_whose_layers_mix_examples_is_refused(tmp_path):
    from transformers import Mamba2Config, Mamba2ForCausalLM

    sizes = {"hidden_size": 16, "num_heads": 4, "head_dim": 8, "state_size": 8, "num_hidden_layers": 1, "n_groups": 1}
    Mamba2ForCausalLM(Mamba2Config(**sizes, vocab_size=32)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"cannot be trained on packed rows|does not support"):
        replace(PLAIN, name=str(tmp_path)).read(CPU)

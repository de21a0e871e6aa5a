"""Kernels, bytes and memory of a training step of the fuser, counted on fake tensors.

`python passes.py LAYERS TOKENS [key=value ...]`, in the environment of `fake_gpu`, counts a Qwen3 of 8B's widths; keys
are `QLoRAFuser`'s. Bytes are those of the kernels' operands and results, memory is what lives without any loss
of the allocator.
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

import torch
from counts import Counts

import fake_gpu

NARROW = {
    "vocab_size": 128, "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 16,
}  # fmt: skip
WIDTHS_OF_8B = {
    "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 12288, "num_attention_heads": 32,
    "num_key_value_heads": 8, "head_dim": 128,
}  # fmt: skip


def fuser_of(widths: dict[str, int], num_layers: int, **settings: Any) -> Any:
    """A fuser over a Qwen3 of these widths, in training; within FakeTensorMode."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from diptych.models.fuser import qlora_fuser

    with contextlib.suppress(ImportError):
        from diptych.models.fuser import fused_norm

        fused_norm.is_rms_norm = lambda module: hasattr(module, "variance_epsilon")  # there are no values to compare
    fuser = qlora_fuser.QLoRAFuser("fake", quantization="none", **settings)
    config = Qwen3Config(num_hidden_layers=num_layers, **widths)
    config._attn_implementation = "example_attention"
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        base = Qwen3ForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    fuser._adapt(base)
    return fuser.train()


def count(widths: dict[str, int], num_layers: int, lengths: list[int], **settings: Any) -> dict[str, int]:
    """Of one forward and backward pass over a row of examples of these lengths, the last layer's hidden states as the
    loss: kernels, bytes, what lives between the passes, and at most.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    from diptych.contracts.news import FusionBatch

    segments = torch.cat([torch.full((1, length), number + 1) for number, length in enumerate(lengths)], dim=1)
    with FakeTensorMode(allow_non_fake_inputs=True):
        fuser = fuser_of(widths, num_layers, **settings)
        numbers = torch.zeros(segments.shape, dtype=torch.long, device="cuda")
        watch, counts = fake_gpu.watch(), Counts()
        with watch, torch.autocast("cuda", torch.bfloat16), counts:
            hidden = fuser(FusionBatch(("q",), numbers, numbers, numbers, segments))
        between = counts.live
        with watch, counts:
            hidden.sum().backward()
    return {"kernels": counts.kernels.total(), "bytes": counts.bytes, "saved": between, "peak": counts.peak}


if __name__ == "__main__":
    fake_gpu.prepare()
    layers, tokens, *words = sys.argv[1:]
    chosen = {key: json.loads(value) for key, value in (word.split("=") for word in words)}
    quarter = int(tokens) // 4
    print(json.dumps(count(WIDTHS_OF_8B, int(layers), [quarter] * 4, **chosen)))  # noqa: T201

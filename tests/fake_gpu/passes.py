"""Kernels, bytes and memory of a training step of the fuser, counted on fake tensors.

`python passes.py LAYERS TOKENS [key=value ...]`, in the environment of `fake_gpu`, counts a Qwen3 of 8B's widths; keys
are `QLoRAFuser`'s. Bytes are those of the kernels' operands and results, memory is what lives without any loss
of the allocator.
"""

from __future__ import annotations

import contextlib
import json
import sys
import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import fake_gpu

NARROW = {
    "vocab_size": 128, "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 16,
}  # fmt: skip
WIDTHS_OF_8B = {
    "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 12288, "num_attention_heads": 32,
    "num_key_value_heads": 8, "head_dim": 128,
}  # fmt: skip


class Passes(TorchDispatchMode):
    """Counts what runs on the device; `live` and `peak` are bytes of what was made under it."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = self.bytes = self.live = self.peak = 0
        self._seen: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = function(*args, **(kwargs or {}))
        made, given = (
            [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor) and leaf.is_cuda]
            for tree in (result, (args, kwargs))
        )
        self._seen.update(tensor.untyped_storage() for tensor in given)  # weights, and the batch
        for tensor in made:
            storage = tensor.untyped_storage()
            if storage not in self._seen:
                self._seen.add(storage)
                self.live += storage.nbytes()
                weakref.finalize(storage, self._freed, storage.nbytes())
        self.peak = max(self.peak, self.live)
        if made and not function.is_view and "_unsafe_view" not in str(function) and "detach" not in str(function):
            self.kernels += 1
            self.bytes += sum(
                tensor.numel() * tensor.element_size() for tensor in {id(t): t for t in made + given}.values()
            )
        return result

    def _freed(self, size: int) -> None:
        self.live -= size


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
        watch, passes = fake_gpu.watch(), Passes()
        with watch, torch.autocast("cuda", torch.bfloat16), passes:
            hidden = fuser(FusionBatch(("q",), numbers, numbers, numbers, segments))
        between = passes.live
        with watch, passes:
            hidden.sum().backward()
    return {"kernels": passes.kernels, "bytes": passes.bytes, "saved": between, "peak": passes.peak}


if __name__ == "__main__":
    fake_gpu.prepare()
    layers, tokens, *words = sys.argv[1:]
    chosen = {key: json.loads(value) for key, value in (word.split("=") for word in words)}
    quarter = int(tokens) // 4
    print(json.dumps(count(WIDTHS_OF_8B, int(layers), [quarter] * 4, **chosen)))  # noqa: T201

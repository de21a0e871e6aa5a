"""Ways in which the same is computed, one function each: the only place that knows how a variant is chosen.

Everything else of this package uses Diptych's public functions.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gpu_parts.bench import Missing, Setting

Attend = Callable[..., Tensor]  # setting, queries (1, H, T, E), keys and values (1, K, T, E), lengths: (1, T, H, E)


# ------------------------------------------------------------------------------------------------ attention


@contextlib.contextmanager
def cudnn_attention(on: bool) -> Iterator[None]:
    """cuDNN's attention, which the project switches off."""
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(on)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


def attend_in_a_loop(setting: Setting, query: Tensor, key: Tensor, value: Tensor, lengths: Sequence[int]) -> Tensor:
    """Packed examples one after the other."""
    from diptych.models.fuser.example_attention import example_attention, lengths_as_mask

    with setting.host():
        mask = lengths_as_mask(lengths)
    return example_attention(nn.Module(), query, key, value, mask)[0]


def attend_in_one_kernel(setting: Setting, query: Tensor, key: Tensor, value: Tensor, lengths: Sequence[int]) -> Tensor:
    """Packed examples in one call."""
    from diptych.models.fuser.example_attention import ends_of_examples, example_attention, lengths_as_mask

    check_one_kernel(setting)
    with setting.host():
        mask = lengths_as_mask(lengths)
    ends = ends_of_examples(lengths, query.device)
    return example_attention(nn.Module(), query, key, value, mask, **ends)[0]


def check_one_kernel(setting: Setting) -> None:
    """Raises Missing where torch has no attention of packed examples with grouped heads, or there is no GPU."""
    from torch.nn.attention.varlen import varlen_attn

    if not setting.on_gpu():
        raise Missing("wants a GPU")
    if "enable_gqa" not in inspect.signature(varlen_attn).parameters:
        raise Missing(f"varlen_attn of torch {torch.__version__} has no enable_gqa")


@contextlib.contextmanager
def in_a_loop() -> Iterator[None]:
    """The fuser's packed rows example by example, as before there was one kernel for them."""
    from diptych.models.fuser import qlora_fuser

    before = qlora_fuser.ends_of_examples
    qlora_fuser.ends_of_examples = lambda lengths, device: {}
    try:
        yield
    finally:
        qlora_fuser.ends_of_examples = before


# ------------------------------------------------------------------------------------------------ compilation


def compile_blocks(setting: Setting, model: nn.Module) -> None:
    """Every block of the towers and the composer by itself, in place, as `system.compile` does."""
    from diptych.parallel.sharding import blocks

    setting.needs_values("torch.compile")
    for block in blocks(model):
        block.compile(dynamic=True, backend="eager" if setting.tiny else "inductor")


# ------------------------------------------------------------------------------------------------ the fuser


def fuser(setting: Setting, base: Any, rank: int, recompute: bool = True, quantization: str = "none") -> Any:
    """Diptych's fuser around a base model that is already there, with an adapter that says something."""
    from diptych.models.fuser import fused_norm
    from diptych.models.fuser.qlora_fuser import QLoRAFuser

    if setting.rehearsal:  # norms are told from others by their values
        fused_norm.is_rms_norm = lambda module: hasattr(module, "variance_epsilon")
    made = QLoRAFuser("by configuration", quantization=quantization, rank=rank, recompute="auto" if recompute else 0)
    made._adapt(base)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.002)
    return made.train()


@contextlib.contextmanager
def merged(tuned: Any) -> Iterator[None]:
    """The adapter as part of the weights."""
    tuned.model.merge_adapter()
    try:
        yield
    finally:
        tuned.model.unmerge_adapter()


@contextlib.contextmanager
def without(tuned: Any, fused: str) -> Iterator[None]:
    """The fuser's layers with the library's own forward passes in place of `fused_lora`'s or `fused_norm`'s."""
    ours = {
        module: vars(module).pop("forward")
        for module in tuned.modules()
        if "forward" in vars(module) and module.forward.__module__.endswith(f".{fused}")
    }
    try:
        yield
    finally:
        for module, forward in ours.items():
            module.forward = forward


# ------------------------------------------------------------------------------------------------ quantised weights


def quantised_linear(plain: nn.Linear, kind: str, device: torch.device) -> Any:
    """The layer in bitsandbytes' `int8` (outliers over 6) or `nf4` (double quantisation, bf16 products)."""
    import bitsandbytes as bnb

    out, width = plain.weight.shape
    weight = plain.weight.data
    if kind == "int8":
        layer = bnb.nn.Linear8bitLt(width, out, bias=False, has_fp16_weights=False, threshold=6.0)
        layer.weight = bnb.nn.Int8Params(weight.half().cpu(), requires_grad=False, has_fp16_weights=False)
    else:
        layer = bnb.nn.Linear4bit(
            width, out, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4", compress_statistics=True
        )
        layer.weight = bnb.nn.Params4bit(
            weight.cpu(), requires_grad=False, quant_type="nf4", compress_statistics=True, module=layer
        )
    return layer.to(device)


def dequantised(layer: Any) -> Tensor:
    """What an nf4 layer multiplies with."""
    import bitsandbytes as bnb

    return bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)


def quantise(base: Any, kind: str, device: torch.device) -> None:
    """All linear layers of the decoder, in place."""
    for module in list(base.get_decoder().modules()):
        for name, layer in list(module.named_children()):
            if type(layer) is nn.Linear:
                setattr(module, name, quantised_linear(layer, kind, device))
    setattr(base, "is_loaded_in_8bit" if kind == "int8" else "is_loaded_in_4bit", True)


def adapted(model: nn.Module, targets: list[str], rank: int, quantization: str) -> nn.Module:
    """The model with an adapter on these layers, whose product is not scaled."""
    from peft import LoraConfig, get_peft_model

    setattr(model, "is_loaded_in_8bit" if quantization == "int8" else "is_loaded_in_4bit", True)
    return get_peft_model(model, LoraConfig(r=rank, lora_alpha=rank, target_modules=targets, lora_dropout=0.0))

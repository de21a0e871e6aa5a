"""LoRA layers compute what PEFT's own do, to rounding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from diptych.models.fuser import fused_lora
from diptych.models.fuser.fused_lora import fuse_lora

WIDTHS = 24, 40


def adapted(base: str = "none", dtype: torch.dtype = torch.float32, bias: bool = False, **settings: Any) -> nn.Module:
    """A model of one linear layer, with an adapter that already does something."""
    torch.manual_seed(0)
    linear: nn.Module = nn.Linear(*WIDTHS, bias=bias).to(dtype)
    if base != "none":
        import bitsandbytes as bnb

        weight = linear.weight.data
        if base == "nf4":
            linear = bnb.nn.Linear4bit(*WIDTHS, bias=bias, compute_dtype=dtype, quant_type="nf4")
            linear.weight = bnb.nn.Params4bit(weight, requires_grad=False, quant_type="nf4")
        else:
            linear = bnb.nn.Linear8bitLt(*WIDTHS, bias=bias, has_fp16_weights=False, threshold=6.0)
            linear.weight = bnb.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False)
        linear.support_avx512bf16_for_cpu = False
    model = nn.Sequential(linear.to("cpu"))
    model.is_loaded_in_8bit, model.is_loaded_in_4bit = base == "int8", base == "nf4"
    settings = {"r": 4, "lora_alpha": 6, "target_modules": ["0"], "init_lora_weights": False} | settings
    model = get_peft_model(model, LoraConfig(**settings))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
    return model


def passes(model: nn.Module, x: Tensor, autocast: bool = False) -> list[Tensor]:
    """The output, and the gradients of the input and of the adapter."""
    torch.manual_seed(1)
    model.zero_grad()
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output = model(x * 1.0)
    (output.float() * torch.arange(output.numel()).view_as(output).cos()).sum().backward()
    return [output.detach(), x.grad, *(parameter.grad for parameter in model.parameters() if parameter.requires_grad)]


def input_of(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(2, 7, WIDTHS[0], generator=torch.Generator().manual_seed(2)).to(dtype)


def distance(one: Tensor, other: Tensor) -> float:
    return float((one.float() - other).norm() / other.norm())


def count_own(monkeypatch) -> list[str]:
    """The names of the functions of ours that are called from now on."""
    called: list[str] = []
    for function in (fused_lora._LinearWithLoRA, fused_lora._AddedLoRA):
        apply, name = function.apply, function.__name__
        monkeypatch.setattr(function, "apply", lambda *a, n=name, f=apply: (called.append(n), f(*a))[1])
    return called


@pytest.mark.parametrize(
    ("base", "settings", "ours"),
    [
        ("none", {}, "_LinearWithLoRA"),
        ("none", {"bias": True}, "_LinearWithLoRA"),
        ("none", {"lora_dropout": 0.5}, "_AddedLoRA"),
        ("int8", {}, "_AddedLoRA"),
        ("nf4", {}, "_AddedLoRA"),
        ("nf4", {"bias": True}, "_AddedLoRA"),
    ],
)
def test_it_is_what_peft_computes(base, settings, ours, monkeypatch):
    model = adapted(base, **settings).train()
    expected = passes(model, input_of())
    fuse_lora(model)
    called = count_own(monkeypatch)
    for theirs, tensor in zip(expected, passes(model, input_of()), strict=True):
        assert distance(tensor, theirs) <= 1e-6
    assert called == [ours]
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(input_of()), adapted(base, **settings).eval()(input_of()))


@pytest.mark.parametrize("base", ["none", "int8", "nf4"])
def test_under_autocast_it_rounds_no_more_than_peft_does(base, monkeypatch):
    dtype = torch.bfloat16
    exact = passes(adapted(base, **({} if base == "none" else {"dtype": dtype})), input_of(dtype).float())
    model = adapted(base, dtype=dtype)
    theirs = passes(model, input_of(dtype), autocast=True)
    fuse_lora(model)
    called = count_own(monkeypatch)
    ours = passes(model, input_of(dtype), autocast=True)
    assert called and [tensor.dtype for tensor in ours] == [tensor.dtype for tensor in theirs]
    for precise, own, peft in zip(exact, ours, theirs, strict=True):
        assert distance(own, precise) <= min(1.05 * distance(peft, precise) + 1e-3, 1e-2)


@pytest.mark.parametrize(
    "settings",
    [{"use_dora": True}, {"lora_bias": True, "bias": True}, {"adapters": 2}, {"merged": True}, {"disabled": True}],
    ids=lambda settings: next(iter(settings)),
)
def test_what_it_does_not_compute_peft_does(settings, monkeypatch):
    adapters, merged, disabled = (settings.pop(key, None) for key in ("adapters", "merged", "disabled"))
    model = adapted(**settings)
    if adapters:
        model.add_adapter("other", LoraConfig(r=2, target_modules=["0"], init_lora_weights=False))
        model.base_model.set_adapter(["default", "other"])
    if merged:
        model.merge_adapter()
    if disabled:
        model.base_model.disable_adapter_layers()
    expected = model(input_of())
    fuse_lora(model)
    called = count_own(monkeypatch)
    assert torch.equal(model(input_of()), expected) and not called


def test_an_input_of_another_type_without_autocast_is_peft_s():
    model = adapted(dtype=torch.bfloat16)
    expected = passes(model, input_of(torch.bfloat16))
    fuse_lora(model)
    assert all(map(torch.equal, passes(model, input_of(torch.bfloat16)), expected))


def test_the_adapter_keeps_its_names():
    model = adapted()
    names = list(model.state_dict())
    fuse_lora(model)
    assert list(model.state_dict()) == names

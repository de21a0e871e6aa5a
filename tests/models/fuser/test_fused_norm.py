"""RMS norms in one kernel are those of transformers, and norms of another formula are left alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.mistral.modeling_mistral import MistralRMSNorm
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

from diptych.models.fuser.fused_norm import fuse_norms, fused_rms_norm, is_rms_norm

WIDTH = 48


class OnePlus(Qwen3RMSNorm):
    """Gemma's formula, with the attributes of the others."""

    def forward(self, hidden_states):
        return super().forward(hidden_states) + hidden_states * torch.rsqrt(
            hidden_states.pow(2).mean(-1, keepdim=True) + self.variance_epsilon
        )


class OtherEpsilon(Qwen3RMSNorm):
    """Epsilon beside the root."""

    def forward(self, hidden_states):
        return (
            self.weight * hidden_states / (hidden_states.pow(2).mean(-1, keepdim=True).sqrt() + self.variance_epsilon)
        )


def drawn(kind: type[nn.Module], dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    norm = kind(WIDTH, 1e-6)
    nn.init.normal_(norm.weight)
    return norm.to(dtype).requires_grad_(False)


@pytest.mark.parametrize("kind", [Qwen3RMSNorm, LlamaRMSNorm, MistralRMSNorm])
def test_norms_of_the_formula_are_known(kind):
    assert is_rms_norm(drawn(kind))


@pytest.mark.parametrize("kind", [Gemma2RMSNorm, OnePlus, OtherEpsilon, nn.LayerNorm])
def test_norms_of_another_formula_are_left_alone(kind):
    norm = drawn(kind)
    fuse_norms(norm)
    assert not is_rms_norm(norm) and "forward" not in vars(norm)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.bfloat16, 6e-3)])
def test_it_is_the_norm_of_transformers_with_its_gradient(dtype, bound):
    norm = drawn(Qwen3RMSNorm, dtype)
    torch.manual_seed(1)
    x, gradient = torch.randn(3, 5, WIDTH).to(dtype), torch.randn(3, 5, WIDTH).to(dtype)
    found = []
    for compute in (norm, lambda x: fused_rms_norm(x, norm.weight, norm.variance_epsilon)):
        leaf = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            output = compute(leaf)
        output.backward(gradient)
        found.append((output.detach(), leaf.grad))
    for theirs, ours in zip(*found, strict=True):
        assert ours.dtype == theirs.dtype == dtype
        assert (ours - theirs).float().norm() <= bound * theirs.float().norm()


def test_on_the_cpu_nothing_changes():
    norm = drawn(Qwen3RMSNorm, torch.bfloat16)
    x = torch.randn(2, WIDTH).bfloat16()
    expected = norm(x)
    fuse_norms(norm)
    assert torch.equal(norm(x), expected)

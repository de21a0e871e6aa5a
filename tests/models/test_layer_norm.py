"""What it does on a GPU, tests/fake_gpu counts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from diptych.models.layer_norm import LeanLayerNorm


@pytest.mark.parametrize("autocast", [False, True])
def test_on_the_cpu_it_is_torch_s_to_the_last_bit(autocast):
    norm, tokens = nn.LayerNorm(16, eps=1e-3), torch.randn(2, 3, 16)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    lean = LeanLayerNorm.of(norm)
    assert lean.weight is norm.weight and list(lean.state_dict()) == list(norm.state_dict())
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        for kind in (torch.float32, torch.bfloat16):
            assert torch.equal(lean(tokens.to(kind)), norm(tokens.to(kind)))


def test_shapes_can_be_computed_without_values():
    """As counting the operations of a model does."""
    assert LeanLayerNorm(16, device="meta")(torch.empty(2, 16, device="meta")).shape == (2, 16)

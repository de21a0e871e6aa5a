"""The lean activation against the formula."""

import torch
from open_clip.transformer import QuickGELU
from torch import nn

from diptych.models.backbones.quick_gelu import LeanQuickGELU, make_lean


def test_values_and_gradients_are_the_formula_s():
    x = torch.linspace(-9, 9, 301, dtype=torch.float64, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    weights = torch.linspace(1, 2, 301, dtype=torch.float64)
    ours, theirs = LeanQuickGELU()(x), y * torch.sigmoid(1.702 * y)
    torch.testing.assert_close(ours, theirs)
    (ours * weights).sum().backward()
    (theirs * weights).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    assert torch.autograd.gradcheck(LeanQuickGELU(), (torch.randn(7, dtype=torch.float64, requires_grad=True),))


def test_the_precision_stays():
    assert LeanQuickGELU()(torch.ones(2, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_every_layer_is_exchanged_and_nothing_else():
    model = nn.Sequential(nn.Linear(2, 2), QuickGELU(), nn.Sequential(QuickGELU(), nn.GELU()))
    make_lean(model)
    kinds = [type(module) for module in model.modules()]
    assert kinds.count(LeanQuickGELU) == 2 and QuickGELU not in kinds and kinds.count(nn.GELU) == 1

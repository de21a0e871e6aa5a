"""The lean activation against the formula."""

from collections import OrderedDict

import torch
from torch import nn

from diptych.models.backbones.quick_gelu import LeanQuickGELU, QuickGELUNetwork


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


def test_the_factors_can_be_in_the_weights():
    """What GPUs compute."""
    layers = [("c_fc", nn.Linear(5, 20)), ("gelu", LeanQuickGELU()), ("c_proj", nn.Linear(20, 5))]
    network = QuickGELUNetwork(nn.Sequential(OrderedDict(layers))).double()
    results = []
    for compute in (network, network.with_scaled_weights):
        x = torch.linspace(-4, 4, 35, dtype=torch.float64).view(7, 5).requires_grad_()
        y = compute(x)
        results.append((y, *torch.autograd.grad((y * torch.linspace(1, 2, 5)).sum(), (x, *network.parameters()))))
    torch.testing.assert_close(*results)

"""Muon and AdamW as one optimizer."""

import copy

import pytest
import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from diptych.systems.muon import MuonWithAdamW


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.token_embedding = nn.Embedding(7, 6)
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 4))

    def forward(self, ids):
        return self.layers(self.token_embedding(ids)).square().mean()


IDS = torch.arange(7)


def take_steps(model, optimizer, number, scheduler=None):
    for _ in range(number):
        optimizer.zero_grad()
        model(IDS).backward()
        optimizer.step()
        if scheduler:
            scheduler.step()


def make(model, **settings):
    groups = [
        {"params": list(model.layers.named_parameters())},
        {"params": [("token_embedding.weight", model.token_embedding.weight)], "weight_decay": 0.0},
    ]
    return MuonWithAdamW(groups, lr=0.02, adamw_lr=0.01, weight_decay=0.1, **settings)


def assert_same(one, other):
    for name, parameter in one.named_parameters():
        assert torch.equal(parameter, other.get_parameter(name)), name


def test_matrices_move_by_muon_and_the_rest_by_adamw():
    ours, theirs = Model(), Model()
    matrices = [layer.weight for layer in theirs.layers if isinstance(layer, nn.Linear)]
    biases = [layer.bias for layer in theirs.layers if isinstance(layer, nn.Linear)]
    muon = torch.optim.Muon(matrices, lr=0.02, weight_decay=0.1)
    adamw = AdamW(
        [{"params": biases}, {"params": [theirs.token_embedding.weight], "weight_decay": 0.0}],
        lr=0.01,
        weight_decay=0.1,
        betas=(0.9, 0.98),
        fused=True,
    )
    take_steps(ours, make(ours), 3)
    for _ in range(3):
        muon.zero_grad()
        adamw.zero_grad()
        theirs(IDS).backward()
        muon.step()
        adamw.step()
    assert_same(ours, theirs)


def test_a_scheduler_moves_both_rates():
    model = Model()
    optimizer = make(model)
    scheduler = LambdaLR(optimizer, lambda step: 1 / (1 + step))
    take_steps(model, optimizer, 1, scheduler)
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.005, 0.005]
    before = copy.deepcopy(model)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    take_steps(model, optimizer, 1)
    assert_same(model, before)


def test_resumed_equals_undisturbed():
    undisturbed = Model()
    optimizer = make(undisturbed)
    scheduler = LambdaLR(optimizer, lambda step: 0.9**step)
    take_steps(undisturbed, optimizer, 3, scheduler)
    resumed = copy.deepcopy(undisturbed)
    again = make(resumed)
    again_scheduler = LambdaLR(again, lambda step: 0.9**step)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    again_scheduler.load_state_dict(scheduler.state_dict())
    take_steps(undisturbed, optimizer, 3, scheduler)
    take_steps(resumed, again, 3, again_scheduler)
    assert_same(undisturbed, resumed)


def test_a_closure_is_called_once():
    model = Model()
    optimizer = make(model)
    calls = []

    def closure():
        calls.append(1)
        optimizer.zero_grad()
        loss = model(IDS)
        loss.backward()
        return loss

    assert optimizer.step(closure) is not None
    assert len(calls) == 1


def test_nothing_to_divide_is_refused():
    model = Model()
    with pytest.raises(ValueError, match="use optimizer adamw"):
        MuonWithAdamW([{"params": [("token_embedding.weight", model.token_embedding.weight)]}])

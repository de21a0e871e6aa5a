"""Optimizers as the card allows."""

from __future__ import annotations

from functools import partial

import lightning as L
import pytest
import torch
from torch import nn

from diptych.systems import optimizing
from diptych.systems.optimizing import bytes_of_state, made_optimizer


@pytest.mark.parametrize(("gigabytes", "is_paged"), [(0, True), (42.4, True), (47.6, False), (80, False)])
def test_state_is_paged_where_a_gpu_has_little_memory(gigabytes, is_paged, monkeypatch):
    bnb = pytest.importorskip("bitsandbytes")
    monkeypatch.setattr(optimizing, "on_gpu", lambda: gigabytes > 0)
    monkeypatch.setattr(optimizing, "_total_memory", lambda: gigabytes * 10**9)
    constructor = partial(bnb.optim.PagedAdamW8bit, lr=1e-3)
    optimizer = made_optimizer(constructor, [nn.Parameter(torch.zeros(4))], L.LightningModule())
    assert optimizer.is_paged is is_paged


def test_the_bytes_of_a_state_are_those_that_it_has():
    bnb = pytest.importorskip("bitsandbytes")
    for kind, size in ((torch.optim.AdamW, 8), (bnb.optim.AdamW8bit, 2)):
        parameter = nn.Parameter(torch.zeros(64, 128))
        parameter.grad = torch.ones_like(parameter)
        optimizer = kind([parameter])
        optimizer.step()
        states = [tensor for tensor in optimizer.state[parameter].values() if isinstance(tensor, torch.Tensor)]
        kept = sum(tensor.nbytes for tensor in states if tensor.numel() >= parameter.numel())
        assert kept == bytes_of_state(optimizer) * parameter.numel() == size * parameter.numel()

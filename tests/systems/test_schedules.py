from __future__ import annotations

import math

import pytest
import torch

from diptych.systems.schedules import WarmupCosine, WarmupCosineRestarts


def rates(schedule: type, steps: int, **settings) -> list[float]:
    """The learning rate of each of the first steps, with a base rate of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, seen = schedule(optimizer, **settings), []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_restarts_against_pytorchs_own_schedulers():
    """The published recipe is LinearLR, then CosineAnnealingWarmRestarts."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1e-8, total_iters=5)
    expected = []
    for _ in range(5):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        warmup.step()
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    restarts = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=4, T_mult=2, eta_min=0.1)
    for _ in range(35):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        restarts.step()
    actual = rates(
        WarmupCosineRestarts, 40, warmup_steps=5, cycle_steps=4, cycle_growth=2, warmup_factor=1e-8, min_factor=0.1
    )
    assert actual == pytest.approx(expected, rel=1e-9)


def test_the_default_is_the_chain_of_the_published_recipe():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1e-8, end_factor=1.0, total_iters=500)
    restarts = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=2500, T_mult=2, eta_min=0.0)
    chain = torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, restarts], milestones=[500])
    expected = []
    for _ in range(3002):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        chain.step()
    found = rates(WarmupCosineRestarts, 3002)
    for step in (0, 1, 250, 500, 501, 3000, 3001):
        assert found[step] == pytest.approx(expected[step], rel=1e-9), step


def test_the_published_recipe_is_the_default():
    rate = rates(WarmupCosineRestarts, 3002)
    assert rate[0] == pytest.approx(1e-8) and rate[250] == pytest.approx(0.5, abs=1e-6)
    assert rate[500] == 1 and rate[1750] == pytest.approx(0.5)
    assert rate[2999] < 1e-6 and rate[3000] == 1
    assert rate[3001] == pytest.approx((1 + math.cos(math.pi / 5000)) / 2)


def test_equal_cycles_and_no_warm_up():
    assert rates(WarmupCosineRestarts, 4, warmup_steps=0, cycle_steps=2, cycle_growth=1) == pytest.approx(
        [1, 0.5, 1, 0.5]
    )


@pytest.mark.parametrize("settings", [{"cycle_steps": 0}, {"cycle_growth": 0}])
def test_cycles_that_never_end_are_refused(settings):
    with pytest.raises(ValueError, match="must be 1 or more"):
        rates(WarmupCosineRestarts, 1, **settings)


def test_one_cosine_by_hand():
    rate = rates(WarmupCosine, 9, total_steps=8, warmup_steps=4, min_factor=0.2)
    cosine = [0.2 + 0.8 * (1 + math.cos(math.pi * place / 4)) / 2 for place in range(4)]
    assert rate == pytest.approx([0.25, 0.5, 0.75, 1.0, *cosine, 0.2])


def test_after_the_last_step_the_rate_stays():
    assert rates(WarmupCosine, 6, total_steps=3, warmup_steps=0)[3:] == [0, 0, 0]


def test_a_warm_up_as_long_as_the_run():
    assert rates(WarmupCosine, 3, total_steps=3, warmup_steps=3) == pytest.approx([1 / 3, 2 / 3, 1])


@pytest.mark.parametrize(
    ("schedule", "settings"),
    [
        (WarmupCosine, {"total_steps": 10, "warmup_steps": 2}),
        (WarmupCosineRestarts, {"warmup_steps": 2, "cycle_steps": 3}),
    ],
)
def test_a_restored_schedule_continues(schedule, settings, tmp_path):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = schedule(optimizer, **settings)
    for _ in range(4):
        optimizer.step()
        scheduler.step()
    torch.save({"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}, tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    again = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    restored = schedule(again, **settings)
    again.load_state_dict(state["optimizer"])
    restored.load_state_dict(state["scheduler"])
    again.step()
    restored.step()
    assert again.param_groups[0]["lr"] == rates(schedule, 6, **settings)[5]

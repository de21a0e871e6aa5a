"""Mixtures that were planted are found again."""

from __future__ import annotations

import pytest
import torch

from diptych.systems.two_components import share_of_lower


def drawn(share: float, apart: float, number: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers of two normal distributions whose means are so many standard deviations apart; True for the upper."""
    generator = torch.Generator().manual_seed(1)
    upper = torch.arange(number) < share * number
    return 5 + 3 * (torch.randn(number, generator=generator, dtype=torch.double) + apart * upper), upper


@pytest.mark.parametrize(("share", "apart"), [(0.2, 3.0), (0.05, 4.0), (0.4, 2.5), (0.7, 3.0)])
def test_a_planted_mixture_is_recovered(share, apart):
    values, upper = drawn(share, apart)
    lower = share_of_lower(values)
    assert float(1 - lower.mean()) == pytest.approx(share, abs=0.02)
    # The posterior of the distributions that the numbers were drawn from, by Bayes' theorem.
    standard = (values - 5) / 3
    kinds = torch.stack([(1 - share) * (-(standard**2) / 2).exp(), share * (-((standard - apart) ** 2) / 2).exp()])
    torch.testing.assert_close(lower, kinds[0] / kinds.sum(dim=0), rtol=0, atol=0.08)
    assert float((lower[~upper] > 0.5).double().mean()) > 0.85


def test_no_value_is_believed_more_than_a_smaller_one_and_scale_means_nothing():
    values, _ = drawn(0.3, 2.0)
    lower = share_of_lower(values)
    assert (lower[values.argsort()].diff() <= 0).all()
    torch.testing.assert_close(share_of_lower(values.double() * 1e-3 - 7), lower, rtol=0, atol=1e-6)


@pytest.mark.parametrize("values", [[], [2.0], [2.0, 2.0, 2.0]])
def test_of_one_kind_all_is_lower(values):
    assert share_of_lower(torch.tensor(values)).tolist() == [1.0] * len(values)


def test_values_of_two_points_are_two_kinds():
    assert share_of_lower(torch.tensor([0.0, 1.0, 0.0, 0.0])).round().tolist() == [1, 0, 1, 1]

"""A mixture of two normal distributions, fitted to numbers: of which of two kinds is each?"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_STEPS, _CLOSE = 1000, 1e-9
_LEAST_VARIANCE = 1e-6  # of numbers whose variance is 1


def share_of_lower(values: Tensor) -> Tensor:
    """For each of the values (N,) the probability (N,), float64, that it is of the lower of two kinds.

    Both kinds have one variance, so that no value is more likely of the lower kind than a smaller one is; a wide kind
    would take the ends of both sides. Expectation maximisation (Dempster, Laird and Rubin 1977) from the lower half
    against the upper one: from a smaller start it may end where both kinds are one. The same values give the same bits.
    Ones where all values are the same.
    """
    values = values.double()
    if not len(values) or (values == values[0]).all():
        return torch.ones_like(values)
    values = (values - values.mean()) / values.std(correction=0)
    lower = torch.zeros_like(values)
    lower[values.argsort(stable=True)[: (len(values) + 1) // 2]] = 1
    before = -math.inf
    for _ in range(_STEPS):
        kinds = torch.stack([lower, 1 - lower])  # (2, N)
        sizes = kinds.sum(dim=1, keepdim=True).clamp(min=1e-9)
        means = (kinds @ values)[:, None] / sizes
        apart = (values - means).square()
        variance = ((kinds * apart).sum() / len(values)).clamp(min=_LEAST_VARIANCE)
        likelihoods = sizes.log() - apart / (2 * variance)
        lower = likelihoods.softmax(dim=0)[0]
        now = float(likelihoods.logsumexp(dim=0).mean() - variance.log() / 2)
        if now - before < _CLOSE:
            break
        before = now
    return lower if means[0] <= means[1] else 1 - lower

"""Learning-rate schedules, per optimizer step."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


class WarmupCosineRestarts(LambdaLR):
    """Linear warm-up over `warmup_steps` from `warmup_factor`, then cosine from 1 to `min_factor` in cycles.

    The first cycle takes `cycle_steps`, each next one `cycle_growth` times as long (Loshchilov and Hutter 2017,
    equation 5). good4cir's recipe: 500 steps from 1e-8, cycles of 2,500 growing twofold.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        warmup_steps: int = 500,
        cycle_steps: int = 2500,
        cycle_growth: int = 2,
        warmup_factor: float = 1e-8,
        min_factor: float = 0.0,
    ) -> None:
        if cycle_steps < 1 or cycle_growth < 1:
            raise ValueError(f"cycle_steps={cycle_steps} and cycle_growth={cycle_growth} must be 1 or more")

        def factor(step: int) -> float:
            if step < warmup_steps:
                return warmup_factor + (1 - warmup_factor) * step / warmup_steps
            place, length = step - warmup_steps, cycle_steps
            while place >= length:
                place, length = place - length, length * cycle_growth
            return min_factor + (1 - min_factor) * (1 + math.cos(math.pi * place / length)) / 2

        super().__init__(optimizer, factor)


class WarmupCosine(LambdaLR):
    """Linear warm-up over `warmup_steps`, then one cosine from 1 to `min_factor` at `total_steps`."""

    def __init__(
        self, optimizer: Optimizer, total_steps: int, warmup_steps: int = 100, min_factor: float = 0.0
    ) -> None:
        def factor(step: int) -> float:
            if step < warmup_steps:
                return (step + 1) / warmup_steps
            place = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
            return min_factor + (1 - min_factor) * (1 + math.cos(math.pi * place)) / 2

        super().__init__(optimizer, factor)

"""Muon for the weight matrices, AdamW for everything else, as one optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer


class MuonWithAdamW(Optimizer):
    """`torch.optim.Muon` (Jordan et al. 2024) on the matrices of the hidden layers, AdamW on vectors and embeddings.

    `params` are groups whose `params` are (name, parameter) pairs: a matrix is a parameter with two dimensions whose
    name does not say `embedding` (an embedding's rows are looked up, not multiplied). `lr` is Muon's and `adamw_lr`
    AdamW's; a scheduler moves both in proportion. A group's own `weight_decay` is kept. Trains small models from
    scratch in far fewer steps than AdamW alone; to fine-tune pretrained ones, keep to the recipe they came with.
    `fused` is AdamW's.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float = 0.02,
        adamw_lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.98),
        fused: bool = True,
    ) -> None:
        matrices: list[dict[str, Any]] = []
        others: list[dict[str, Any]] = []
        for group in params:
            for chosen, groups in ((True, matrices), (False, others)):
                named = [
                    (name, parameter) for name, parameter in group["params"] if _is_matrix(name, parameter) is chosen
                ]
                if named:
                    groups.append({**group, "params": named})
        if not matrices or not others:
            raise ValueError(
                "optimizer muon divides the work between matrices and other parameters, and one of the two is missing "
                "here; use optimizer adamw"
            )
        self._muon: Optimizer = torch.optim.Muon(matrices, lr=lr, weight_decay=weight_decay, momentum=momentum)
        self._adamw: Optimizer = AdamW(others, lr=adamw_lr, weight_decay=weight_decay, betas=betas, fused=fused)
        super().__init__([*self._muon.param_groups, *self._adamw.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Lets both optimizers work on this one's groups and state, which schedulers and checkpoints see."""
        first_other = len(self._muon.param_groups)
        self._muon.param_groups, self._adamw.param_groups = (
            self.param_groups[:first_other],
            self.param_groups[first_other:],
        )
        self._muon.state = self._adamw.state = self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from `state_dict()`."""
        super().load_state_dict(state_dict)
        self._share()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of both; returns what the closure returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._muon.step()
        self._adamw.step()
        return loss


def _is_matrix(name: str, parameter: Tensor) -> bool:
    return parameter.ndim == 2 and "embedding" not in name

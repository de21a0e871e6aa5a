"""How both systems make their optimizer and clip gradients."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from torch.optim import Optimizer

from diptych.parallel.devices import on_gpu

_ROOM_FOR_STATE = 44 * 10**9  # bytes; cards of 48 GB have from 47.6 GB, of 40 GB up to 42.4 GB


def made_optimizer(constructor: Callable[..., Optimizer], parameters: Any, module: L.LightningModule) -> Optimizer:
    """The optimizer over `parameters`. Not fused where losses are scaled (16-mixed): a fused one divides the gradients
    itself, within its step, so that before it they could not be measured nor clipped. Not paged on a GPU of 48 GB or
    more, where its state has room: the state is the same, and what is paged is waited for in every step.
    """
    if _scales_losses(module) and "fused" in inspect.signature(constructor).parameters:
        return constructor(parameters, fused=False)
    optimizer = constructor(parameters)
    if getattr(optimizer, "is_paged", False) and on_gpu() and _total_memory() >= _ROOM_FOR_STATE:
        optimizer.is_paged = False  # type: ignore[attr-defined]  # bitsandbytes asks when it makes the state
    return optimizer


def _total_memory() -> int:
    return torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory


def bytes_of_state(optimizer: Optimizer) -> int:
    """How many bytes an optimizer like Adam, with two averages, keeps for each number that it trains."""
    return 2 if "8bit" in type(optimizer).__name__ else 8


def _scales_losses(module: L.LightningModule) -> bool:
    try:
        trainer = module.trainer
    except RuntimeError:  # no trainer has it yet
        return False
    return getattr(trainer.precision_plugin, "scaler", None) is not None


def clip_gradients(optimizer: Optimizer, bound: float | None, algorithm: str | None) -> None:
    """Clips as the trainer's settings say. Lightning's own refuses every fused optimizer under mixed precision, also
    in bfloat16, where nothing is scaled.
    """
    if not bound:
        return
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if algorithm == "value":
        torch.nn.utils.clip_grad_value_(parameters, bound)
    else:
        torch.nn.utils.clip_grad_norm_(parameters, bound)

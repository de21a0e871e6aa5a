"""How a trained model runs without a trainer: on which device, and in which precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from omegaconf import OmegaConf

from diptych.config.building import chosen_precision
from diptych.parallel.devices import check_gpu_usable, prepare_gpu

_AUTOCAST = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def computing_in(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """A context in which a model on `device` computes as under `trainer.precision`: `32-true`, `bf16-mixed`,
    `16-mixed`, or `auto`, which is what `evaluate.py` takes by itself.

    Raises:
        ValueError: the precision is another one.
    """
    dtype = _AUTOCAST[resolved_precision(precision)]
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype, cache_enabled=False)


def resolved_precision(precision: str) -> str:
    """The precision by its name; of `auto` the one that it is on this machine.

    Raises:
        ValueError: there is none of that name.
    """
    found = str(chosen_precision(OmegaConf.create({"precision": precision})))
    if found not in _AUTOCAST:
        raise ValueError(f"precision={found!r} is not one of auto, {', '.join(_AUTOCAST)}")
    return found


def chosen_device(device: str | torch.device | None) -> torch.device:
    """The device itself; for None the first GPU if there is one, else the CPU.

    Raises:
        ValueError: the device is not known, or not there.
    """
    if device is None:
        check_gpu_usable()
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise ValueError(f"device={str(device)!r} cannot be used: {str(error).splitlines()[0]}") from None
    prepare_gpu(torch.device("cuda", torch.cuda.current_device()) if found == torch.device("cuda") else found)
    return found

"""The type of number in which an encoder of photos computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from diptych.models.fuser.generation import DTYPES
from diptych.parallel.devices import on_gpu

AUTO = "auto"


def check_dtype(dtype: str) -> str:
    """The name of a type, or `auto`; ValueError for any other."""
    if dtype not in (AUTO, *DTYPES):
        raise ValueError(f"dtype={dtype!r} is not one of {', '.join((AUTO, *DTYPES))}")
    return dtype


def settled_dtype(settings: Mapping[str, Any]) -> dict[str, str]:
    """What `auto` is for this process, for a config that is kept: embeddings of one type are not those of another.

    `bfloat16` on a GPU that has it (torch emulates it on older ones, many times slower), else `float32`.
    """
    dtype = settings.get("dtype", AUTO)
    if dtype == AUTO:
        dtype = "bfloat16" if on_gpu() and torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return {"dtype": dtype}


def weights_dtype(dtype: str) -> torch.dtype:
    """The type of an encoder's weights."""
    return DTYPES[settled_dtype({"dtype": dtype})["dtype"]]

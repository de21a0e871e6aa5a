"""Checkpoints on their way to the host."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_parts import ADAMW, retrieval_system
from torch._subclasses.fake_tensor import FakeTensorMode

import fake_gpu
from diptych.parallel.checkpoint_thread import HostCopies
from diptych.parallel.sharded_checkpoints import tensors


def waits_of_a_save() -> dict[str, Any]:
    """What the host waits for while a checkpoint is copied, the second time; `tensors` is how many there are."""
    synchronized: list[Any] = []
    watch = fake_gpu.watch()
    copies = HostCopies()
    with FakeTensorMode(allow_non_fake_inputs=True), pytest.MonkeyPatch.context() as patch, watch:
        system = retrieval_system(None).to("cuda:0")
        optimizer = ADAMW(system.parameters())
        for parameter in system.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        checkpoint = {"state_dict": system.state_dict(), "optimizer_states": [optimizer.state_dict()]}
        copies.of(checkpoint)
        watch.waits.clear()
        patch.setattr(torch.cuda.Stream, "synchronize", lambda stream: synchronized.append(stream))
        copy = copies.of(checkpoint)
    on_gpu, on_host = (sum(tensor.is_cuda for _, tensor in tensors(content)) for content in (checkpoint, copy))
    return {"waits": sum(watch.waits.values()), "synchronized": len(synchronized), "tensors": on_gpu, "left": on_host}

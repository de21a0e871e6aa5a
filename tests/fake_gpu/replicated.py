"""A training with the whole model in each of 64 processes that are not there, seen by one of them."""

from __future__ import annotations

import ctypes
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.parallel import distributed
from torch.testing._internal.distributed.fake_pg import FakeStore

import fake_gpu
from diptych.parallel.data_parallel import DataParallelStrategy


class Layers(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(*(torch.nn.Linear(8, 8, device="cuda") for _ in range(5)))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layers(inputs)


def waits_of_streams() -> dict[str, Any]:
    """How often a stream of the GPU waits for another in a backward pass over ten parameters, whose gradients are not
    sent: FakeTensorMode has no results for DDP's reducer.
    """
    count = ctypes.CDLL(None).fake_stream_waits
    torch.distributed.init_process_group("fake", store=FakeStore(), rank=11, world_size=64)
    for name in ("_verify_param_shape_across_processes", "_sync_module_states"):  # which want values
        assert hasattr(distributed, name), f"torch renamed {name}"
        setattr(distributed, name, lambda *_, **__: None)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), fake_gpu.watch():
            strategy = DataParallelStrategy(process_group_backend="fake")
            strategy.parallel_devices, strategy.cluster_environment = [torch.device("cuda:0")], LightningEnvironment()
            strategy.model = Layers()
            strategy.configure_ddp()
            before = count()
            with strategy.model.no_sync():
                strategy.model(torch.zeros(4, 8, device="cuda")).sum().backward()
            gradients = [parameter.grad is not None for parameter in strategy.model.parameters()]
    finally:
        torch.distributed.destroy_process_group()
    return {"gradients": sum(gradients), "waits": count() - before}

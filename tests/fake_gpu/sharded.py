"""Trainings sharded over 64 processes that are not there, seen by one of them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch
from counts import Counts
from tiny_parts import retrieval_system, triplets
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from trainings import COUNTED, train

from diptych.parallel.sharding import ShardedStrategy
from diptych.systems.cir import CIRSystem


@contextlib.contextmanager
def rank_11_of_64() -> Iterator[dict[str, Any]]:
    """Gives the trainer's settings."""
    place = {"NODE_RANK": "11", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    os.environ |= place
    torch.distributed.init_process_group("fake", store=FakeStore(), rank=11, world_size=64)
    strategy = ShardedStrategy("fake")
    strategy.broadcast = lambda value, src=0: value  # of Python objects, which would have to arrive
    try:
        yield {"strategy": strategy, "num_nodes": 64, "use_distributed_sampler": False}
    finally:
        torch.distributed.destroy_process_group()
        for name in place:
            os.environ.pop(name, None)


def sharded_training(**settings: Any) -> dict[str, Any]:
    """As `train`; also the collectives of a step, and the bytes of weights on the GPU while they are sharded and
    afterwards. `settings` are those of `retrieval_system`.
    """
    counts, system, held, broadcast = Counts(), [], [], torch.distributed.broadcast

    def noted(tensor: torch.Tensor, source: int) -> None:
        held.append(sum(map(bytes_on_gpu, system[0].parameters())))
        broadcast(tensor, source)

    def make() -> CIRSystem:
        system.append(retrieval_system(recomputed=True, **settings))
        return system[0]

    torch.distributed.broadcast = noted
    try:
        with rank_11_of_64() as place:
            found = train(make, triplets, counts, **place)
    finally:
        torch.distributed.broadcast = broadcast
    found["collectives"] = {
        kind: [times / COUNTED, counts.sent[kind] / COUNTED] for kind, times in counts.collectives.items()
    }
    found["peak_of_sharding"], found["held_in_training"] = max(held), sum(map(bytes_on_gpu, system[0].parameters()))
    return found


def bytes_on_gpu(parameter: torch.nn.Parameter) -> int:
    local = parameter.to_local() if isinstance(parameter, DTensor) else parameter
    return local.numel() * local.element_size() if local.is_cuda else 0

"""Training with weights, gradients and optimizer state sharded over the processes, on GPUs or CPUs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, Shard
from torch.distributed.tensor import empty as empty_shards

from diptych.contracts.retrieval import ContrastiveEmbeddings
from diptych.parallel import checkpoints, private_parts, sharded_checkpoints

PRECISIONS = ("32-true", "bf16-mixed")

# What the sharded model returns: without this torch would not see the tensors in it and reduce no gradient.
private_parts.register_dataclass(ContrastiveEmbeddings)


@runtime_checkable
class Shardable(Protocol):
    """A system that can be trained with `ShardedStrategy`."""

    def shard(self, device: torch.device, bf16: bool) -> None:
        """Shards what is trained over all processes (`shard_model`); `device` is this one's, all of it is on the host.
        With `bf16` the trainer computes in bf16-mixed.
        """


class ShardedStrategy(DDPStrategy):
    """Data-parallel training in which every process keeps a share of the weights, the gradients and the optimizer's
    state (torch's fully_shard, "FSDP2"; Rajbhandari et al. 2020, ZeRO stage 3).

    Computes what DDPStrategy computes, up to the order of sums. A model is sharded from the host, block by block: no
    GPU has to hold it whole, unless it is gathered as one (`shard_model`). Checkpoints are saved in pieces
    (`diptych.parallel.sharded_checkpoints`); any checkpoint can be loaded, whole or in pieces, written by any number of
    processes. During an evaluation every process holds all weights, because batches are not even over processes.
    """

    def __init__(self, process_group_backend: str | None = None) -> None:
        super().__init__(process_group_backend=process_group_backend)

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        """The checkpoint's tensors are read into shards, which are there after the setup only."""
        return True

    # ------------------------------------------------------------------------------------------------ the model

    def setup(self, trainer: L.Trainer) -> None:
        """Shards the model when it is to be trained, unless it is sharded already."""
        if not self._sharded():
            super().setup(trainer)
            return
        assert self.accelerator is not None
        self.accelerator.setup(trainer)
        self.setup_precision_plugin()

    def model_to_device(self) -> None:
        """Leaves on the host what is to be sharded."""
        if self._module().trainer.state.fn != TrainerFn.FITTING:
            super().model_to_device()

    def configure_ddp(self) -> None:
        """Shards the model where DDP would wrap it."""
        assert isinstance(self.lightning_module, Shardable)  # see check_shardable
        self.lightning_module.shard(self.root_device, bf16=self.precision_plugin.precision == "bf16-mixed")
        super().model_to_device()  # the rest

    def teardown(self) -> None:
        """Leaves a sharded model where it is: its shards belong to the processes' devices."""
        if not self._sharded():
            super().teardown()
            return
        assert self.cluster_environment is not None and self.accelerator is not None
        self.cluster_environment.teardown()
        self.precision_plugin.teardown()
        self.accelerator.teardown()

    def on_validation_start(self) -> None:
        """Gives every process all weights."""
        for module in self._sharded():
            module.set_reshard_after_forward(False, recurse=False)
            module.unshard()

    def on_validation_end(self) -> None:
        """Takes the weights of the others away again."""
        for number, module in enumerate(self._sharded()):
            module.set_reshard_after_forward(number > 0, recurse=False)  # the first is the root: see shard_model
            module.reshard()

    on_test_start, on_test_end = on_validation_start, on_validation_end

    def _module(self) -> L.LightningModule:
        """The system, which Lightning connects before it calls anything here."""
        assert self.lightning_module is not None
        return self.lightning_module

    def _sharded(self) -> list[FSDPModule]:
        return [module for module in self._module().modules() if isinstance(module, FSDPModule)]

    # ------------------------------------------------------------------------------------------------ checkpoints

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any | None = None
    ) -> None:
        """Writes the checkpoint, every process its shards; OSError on all of them when one cannot."""
        sharded_checkpoints.save(checkpoint, Path(filepath))

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """The checkpoint's dictionary; of one in pieces each process reads its own shards alone."""
        return checkpoints.load_into(checkpoint_path, self._empty_shards)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Puts the weights into the shards."""
        checkpoints.load_weights(self._module(), checkpoint, "resumed checkpoint")

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Puts each optimizer's state into the shards."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            for number, values in state["state"].items():
                target = parameters[number]
                for name, value in values.items():
                    if isinstance(value, Tensor) and value.shape == target.shape:
                        values[name] = sharded_checkpoints.like(value, target)
            optimizer.load_state_dict(state)

    def _empty_shards(self, place: str, tensor: Tensor) -> Tensor:
        mesh = next(p.device_mesh for p in self._module().parameters() if isinstance(p, DTensor))
        return empty_shards(tensor.shape, dtype=tensor.dtype, device_mesh=mesh, placements=[Shard(0)])


def check_shardable(trainer: L.Trainer, system: L.LightningModule) -> None:
    """Raises ValueError when the trainer shards what it cannot shard; to be called before any weights are loaded."""
    if not isinstance(trainer.strategy, ShardedStrategy):
        return
    if not isinstance(system, Shardable):
        raise ValueError(f"trainer=fsdp cannot shard a {type(system).__name__}: use trainer=ddp")
    if trainer.precision not in PRECISIONS:
        raise ValueError(
            f"trainer.precision={trainer.precision} is not supported with trainer=fsdp: use {' or '.join(PRECISIONS)}"
        )


def shard_model(
    model: nn.Module, device: torch.device, calls: Sequence[str], as_one: bool = False, bf16: bool = False
) -> None:
    """Shards the model's weights over all processes, starting from those of the first one; `device` is this one's.

    The blocks of its towers are gathered one at a time, what remains at once; with `as_one` everything at once, for a
    forward pass in pieces, which would gather every block for every piece. `calls` are the methods that are called
    beside `forward`. Single numbers are not sharded. With `bf16` see `_policy`.
    """
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for block in () if as_one else blocks(model):
        _start_alike(block, device)
        fully_shard(block, mesh=mesh, reshard_after_forward=True, mp_policy=_policy(block, bf16))
    _start_alike(model, device)
    numbers = {parameter for parameter in model.parameters() if parameter.ndim == 0}
    # The rest is needed from the first to the last layer, so it stays until the backward pass is through.
    policy = _policy(model, bf16)
    fully_shard(model, mesh=mesh, reshard_after_forward=False, mp_policy=policy, ignored_params=numbers)
    for name in calls:
        register_fsdp_forward_method(model, name)
    average_gradients(numbers)


def _start_alike(part: nn.Module, device: torch.device) -> None:
    """Puts what is not sharded yet on the device, with the first process's values."""
    part.to(device)
    for tensor in (*part.parameters(), *part.buffers()):
        if not isinstance(tensor, DTensor):
            dist.broadcast(tensor.detach(), 0)


def _policy(part: nn.Module, bf16: bool) -> MixedPrecisionPolicy:
    """With `bf16` the weights of matrix products and convolutions are gathered as autocast would round them before it
    multiplies, so that nothing changes but the bytes. Embeddings, norms and single parameters are gathered as they
    are, and all gradients are added in their own type, float32.
    """
    if not bf16 or "param_dtype_override_fn" not in {field.name for field in fields(MixedPrecisionPolicy)}:
        return MixedPrecisionPolicy()  # torch 2.14 knows no policy for a single parameter
    rounded = product_weights(part)
    return MixedPrecisionPolicy(
        param_dtype=torch.bfloat16,
        reduce_dtype=torch.float32,
        cast_forward_inputs=False,  # autocast's affair
        param_dtype_override_fn=lambda parameter: None if parameter in rounded else parameter.dtype,
    )


def product_weights(part: nn.Module) -> set[nn.Parameter]:
    """The weights of matrix products and convolutions, and their biases."""
    products = [
        module
        for module in part.modules()
        if isinstance(module, (nn.Linear, nn.Conv2d)) or hasattr(module, "in_proj_weight")  # attention of any kind
    ]
    return {parameter for module in products for parameter in module.parameters(recurse=False)}


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Averages the gradients of parameters that are not sharded over the processes, as they are computed."""
    for parameter in parameters:
        if parameter.requires_grad:
            dist.broadcast(parameter.detach(), 0)
            parameter.register_hook(_mean_over_processes)


def _mean_over_processes(gradient: Tensor) -> Tensor:
    mean = gradient / dist.get_world_size()
    dist.all_reduce(mean)
    return mean


def blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The layers of every stack of layers of one kind."""
    for child in module.children():
        if isinstance(child, (nn.ModuleList, nn.Sequential)) and len({type(layer) for layer in child}) == 1:
            yield from child
        else:
            yield from blocks(child)

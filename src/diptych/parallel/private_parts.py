"""What Diptych uses of other libraries although they keep it private: each such name, once, in a function of its own.

A private name may go, or change its meaning, with any release. `tests/parallel/test_private_parts.py` asks each
function here on a small object, so that an upgrade fails there first. Nothing else in the package touches such a name,
but for pickled data that names them (`sharded_checkpoints`) and two methods of torchmetrics that subclasses override,
which `check_overrides` looks for. Importing this file imports none of the libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    import subprocess
    from http.client import HTTPConnection

    import lightning as L
    from open_clip.transformer import VisionTransformer
    from torch import Tensor
    from transformers import PretrainedConfig


def _part(owner: Any, name: str, library: str) -> Any:
    """The private attribute. RuntimeError that says where to look when the library has it no more."""
    try:
        return getattr(owner, name)
    except AttributeError:
        kind = owner.__name__ if hasattr(owner, "__name__") else type(owner).__name__
        raise RuntimeError(
            f"{library} {version(library)} renamed {kind}.{name}, see {__file__}; install an earlier release of "
            f"{library}, or change the function there"
        ) from None


# ---------------------------------------------------------------------------------------------------- python


def set_connector(connection: HTTPConnection, connect: Callable[..., socket.socket]) -> None:
    """Makes a connection open its socket with `connect`, which takes the arguments of `socket.create_connection`."""
    if not hasattr(connection, "_create_connection"):
        raise RuntimeError(f"this Python renamed HTTPConnection._create_connection: change {__file__}")
    connection._create_connection = connect


# ---------------------------------------------------------------------------------------------------- lightning


def set_logged_step(trainer: L.Trainer, step: int) -> None:
    """Makes `step` the x-axis value of what the trainer logs next. Lightning counts it apart from `global_step`."""
    loop = trainer.fit_loop.epoch_loop
    _part(loop, "_batches_that_stepped", "lightning")
    loop._batches_that_stepped = step


def log_training_step(trainer: L.Trainer) -> None:
    """Gives the loggers what this training step has logged so far, if it is a step that is logged. Lightning gives it
    to them after the callbacks, so a second time."""
    _part(_part(trainer, "_logger_connector", "lightning"), "update_train_step_metrics", "lightning")()


def take_sigterm(trainer: L.Trainer) -> bool:
    """Whether Lightning's handler has received SIGTERM; it forgets it, and does not end the process for it."""
    connector = _part(trainer, "_signal_connector", "lightning")
    received = _part(connector, "received_sigterm", "lightning")
    connector.received_sigterm = False
    return received


def do_not_ask_for_sigterm(trainer: L.Trainer) -> None:
    """Leaves out Lightning's question to the first of several processes, before every batch, whether it got SIGTERM:
    the answer comes over the GPUs, and the host waits for it until all queued work is done.
    """
    loop = trainer.fit_loop.epoch_loop
    _part(loop, "_broadcast_sigterm_tensor", "lightning")
    loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]


def set_command_of_ranks(command: Sequence[str]) -> None:
    """Makes Lightning start the other processes of a training or an evaluation with this command. Its own is this
    process's with Hydra's folder behind, which it does not quote as Hydra reads it.
    """
    from lightning.pytorch.strategies.launchers import subprocess_script

    def of_rank(local_rank: int) -> tuple[list[str], str]:
        return [*command, f"hydra.job.name=train_ddp_process_{local_rank}", "hydra.output_subdir=null"], str(Path.cwd())

    _part(subprocess_script, "_hydra_subprocess_cmd", "lightning")
    subprocess_script._hydra_subprocess_cmd = of_rank


def set_process_observer(observe: Callable[[list[subprocess.Popen]], None]) -> None:
    """Makes Lightning call `observe` with the other processes of a job when it has started them."""
    from lightning.pytorch.strategies.launchers import subprocess_script

    _part(subprocess_script, "_launch_process_observer", "lightning")
    subprocess_script._launch_process_observer = observe  # type: ignore[assignment]  # a function for a function


# ---------------------------------------------------------------------------------------------------- torch


def register_dataclass(kind: type) -> None:
    """Makes torch find the tensors in a dataclass, such as one that a sharded model's `forward` returns."""
    from torch.utils import _pytree

    _part(_pytree, "register_dataclass", "torch")(kind)


def nothing_missing() -> Any:
    """What `load_state_dict` returns when every key was there and no other."""
    from torch.nn.modules import module

    return _part(module, "_IncompatibleKeys", "torch")([], [])


def softmax_backward(gradient: Tensor, weights: Tensor) -> Tensor:
    """The gradient before a softmax over the last axis that gave `weights` (..., N), of the `gradient` after it."""
    import torch

    return _part(torch, "_softmax_backward_data", "torch")(gradient, weights, -1, weights.dtype)


# ---------------------------------------------------------------------------------------------------- open_clip


def vision_features(vit: VisionTransformer, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of normalised images the pooled features (B, D) before the projection, those of the patches (B, P, D), and all
    tokens as they were before the last norm, class token first.
    """
    hidden = vit.transformer(_part(vit, "_embeds", "open_clip_torch")(images))
    return *_part(vit, "_pool", "open_clip_torch")(hidden), hidden


# ---------------------------------------------------------------------------------------------------- transformers


def set_saved_attention(config: PretrainedConfig, name: str) -> None:
    """Makes `name` the attention that a model of this config is marked with, without asking whether it is there."""
    _part(config, "_attn_implementation", "transformers")
    config._attn_implementation = name


# ---------------------------------------------------------------------------------------------------- torchmetrics


def check_overrides(*names: str) -> None:
    """RuntimeError unless torchmetrics' Metric has these methods: overriding one that is gone would change nothing."""
    from torchmetrics import Metric

    for name in names:
        _part(Metric, name, "torchmetrics")


# ---------------------------------------------------------------------------------------------------- omegaconf


def root_of(node: Any) -> Any:
    """The whole config that a node of it, a DictConfig or a ListConfig, is part of."""
    return _part(node, "_get_root", "omegaconf")()

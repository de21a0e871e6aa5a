"""The merged model of a checkpoint at a server, which writes captions in its place: `server=vllm`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightning as L
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from diptych.commands.caption_variants import ablation_variants
from diptych.config import building
from diptych.config.replacements import Replaced
from diptych.contracts.prompts import PromptServer
from diptych.parallel import checkpoints


@dataclass(frozen=True)
class ServedModel:
    """A server that holds a fuser, the adapter merged into it; `weights` name the adapter's."""

    server: PromptServer
    weights: str


def check_server(config: DictConfig) -> None:
    """ValueError where captions are asked for that a server's cannot be, before anything is read."""
    if OmegaConf.is_missing(config.server, "model"):
        raise ValueError("server.model=... is missing: what the server calls the merged model (`diptych export`)")
    if not all(variant.tuned for variant in ablation_variants(config.ablation).values()):
        raise ValueError("ablation=untuned is of the base model, which the server does not hold: leave one of them out")


def check_one_process(trainer: L.Trainer) -> None:
    """ValueError where several processes would ask the server."""
    if trainer.world_size > 1:
        raise ValueError(
            f"server is asked by one process, and trainer has {trainer.world_size}: "
            "set trainer.devices=1, or trainer=cpu"
        )


def prompt_server(server: Mapping[str, Any]) -> PromptServer:
    """The server of a section, which has been asked for nothing yet; ValueError where a setting makes no sense."""
    built: PromptServer = building.build(OmegaConf.create({"server": dict(server)}).server)
    return built


def served_model(server: PromptServer, weights: Mapping[str, Tensor]) -> ServedModel:
    """The server that is to hold the fuser with these weights."""
    adapter = {name.removeprefix("model."): tensor for name, tensor in weights.items()}
    return ServedModel(server, checkpoints.fingerprint(adapter))


def origin(new: Replaced, server: PromptServer | None) -> dict[str, Any]:
    """What stood in the place of the checkpoint's settings, and of its model, as metrics.json has it."""
    if server is None:
        return new.origin()
    at = {"model": server.model, "base_url": server.base_url}
    return {"replaced": {**new.said, "server": at}, "replaced_from": new.before}

"""The merged model of a checkpoint at a server, which writes an evaluation's captions: `evaluate.py server=vllm`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import lightning as L
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from diptych.commands.caption_variants import ablation_variants
from diptych.config import building
from diptych.contracts.prompts import PromptServer
from diptych.parallel import checkpoints


@dataclass(frozen=True)
class ServedModel:
    """A server that holds a fuser, the adapter merged into it; `weights` name the adapter's."""

    server: PromptServer
    weights: str


def check_server(config: DictConfig) -> None:
    """ValueError where an evaluation asks for what a server's captions cannot be, before anything is read."""
    if OmegaConf.is_missing(config.server, "model"):
        raise ValueError("server.model=... is missing: what the server calls the merged model (`diptych export`)")
    if not all(variant.tuned for variant in ablation_variants(config.ablation).values()):
        raise ValueError("ablation=untuned is of the base model, which the server does not hold: leave one of them out")


def served_model(config: DictConfig, trainer: L.Trainer, weights: Mapping[str, Tensor]) -> ServedModel:
    """The server that is to hold the fuser with these weights, which has been asked for nothing yet.

    Raises:
        ValueError: a setting makes no sense, or the trainer has several processes.
    """
    if trainer.world_size > 1:
        raise ValueError(f"server is asked by one process, and trainer has {trainer.world_size}: set trainer=cpu")
    adapter = {name.removeprefix("model."): tensor for name, tensor in weights.items()}
    return ServedModel(building.build(config.server), checkpoints.fingerprint(adapter))

"""An adapter, or a whole language model, of anybody's as a run of ours, which every command of captions opens.

diptych import adapter=FOLDER experiment=fuser_openevents out=FOLDER
diptych import model=FOLDER experiment=fuser_openevents out=FOLDER
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from omegaconf import OmegaConf

from diptych.commands.importing import write_imported
from diptych.config import building, checking
from diptych.config.command_line import composed
from diptych.config.override_words import override
from diptych.config.trained import load_adapter
from diptych.extras import require
from diptych.models.fuser.peft_folder import PeftFolder

log = logging.getLogger(__name__)


def import_captioner(adapter: Path | None, model: Path | None, out: Path, overrides: Sequence[str]) -> Path:
    """Writes `checkpoints/best.ckpt` and `config.yaml` into the new folder `out`, and returns it.

    The folder is as a training with these `overrides` leaves it, which say the base model, the prompt and the evidence:
    with the `adapter`, whose rank and scale it gets; or with the `model` and an adapter that changes nothing.

    Raises:
        ValueError: the folder exists, the overrides are no captioning training, the adapter is of another base model,
            or `PeftFolder` or the model's reader refuses it; nothing is written.
    """
    require("peft")
    if out.exists():
        raise ValueError(f"{out} exists; name a folder that does not")
    if adapter is not None:
        folder = PeftFolder.read(adapter)
        rank, alpha = folder.rank, folder.alpha
    else:
        rank, alpha = 1, 1.0
    own = [f"system.model.rank={rank}", f"system.model.alpha={alpha:.17g}"]
    own += [override("system.model.name", model.absolute())] if model is not None else []
    config = composed("train", [*overrides, *own])
    if checking.kind_of("system", config.system) != "captions":
        raise ValueError(
            "an adapter of a language model writes captions: name an experiment that does, fuser_openevents"
        )
    if adapter is not None:
        folder.check_base(config.system.model.name)  # before any weights
    building.settle(config, "system")
    unquantised = OmegaConf.merge(config, {"system": {"model": {"quantization": "none"}}})  # the layers are the same
    system = building.build(unquantised.system)
    system.load_pretrained(torch.device("cpu"))
    if adapter is not None:
        load_adapter(system, adapter)
    write_imported(out, system.state_dict(), config)
    return out

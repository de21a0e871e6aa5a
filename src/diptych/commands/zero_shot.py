"""What an evaluation without a checkpoint scores: a pretrained backbone, and a composer that has nothing to train.

python evaluate.py system=zero_shot data=circo split=val
"""

from __future__ import annotations

from typing import cast

import lightning as L
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from diptych.config import building, checking
from diptych.config.plain_config import plain_section
from diptych.contracts.retrieval import RetrievalData

_BACKBONE = "backbone."


def untrained(config: DictConfig) -> tuple[L.LightningDataModule, L.LightningModule, str]:
    """The datamodule and the system of the config, no weights loaded, and a name for the backbone: that of its
    architecture and of its weights.

    Raises:
        ValueError: data are not named or missing, something of the config is unknown or does not go together, or the
            model has weights that no pretrained backbone brings.
    """
    if HydraConfig.get().runtime.choices.get("data") == "checkpoint":
        raise ValueError("an untrained system is scored on named data: add data=circo split=val, for example")
    own = {name: config[name] for name in ("system", "data", "data_dir", "seed")}
    composed = OmegaConf.create({**own, "trainer": {"max_steps": 1}})  # the scheduler's length is one of it
    if checking.kind_of("system", composed.system) != "retrieval":
        raise ValueError(
            "system=zero_shot composes images; captions of a model as it comes: ckpt=PATH ablation=untuned"
        )
    checking.check_data_fits_system(composed)
    for name in ("system", "data"):
        checking.check_section(name, plain_section(composed)[name])
    checking.check_data_root(composed)
    building.settle(composed, "system")
    datamodule = building.build_data(composed.data)
    cast(RetrievalData, datamodule).prepare_evaluation(config.split)  # missing data must not cost a download
    system = building.build(composed.system)
    weights = composed.system.model.backbone.get("pretrained", "its own weights")  # of a class of somebody's own
    if weights is None:
        raise ValueError("system.model.backbone.pretrained=null: name weights, or nothing was trained at all")
    alone = [name for name, _ in system.model.named_parameters() if not name.startswith(_BACKBONE)]
    if alone:
        raise ValueError(
            f"system.model has weights that come with no backbone ({alone[0]}, ...), and nothing trains them here: "
            "choose system/model=sum, image_only or text_only"
        )
    return datamodule, system, f"{system.model.backbone.name}, {weights}"

"""A checkpoint of the released good4cir code as a run of ours, which every command opens.

diptych import good4cir=FILE out=FOLDER [data=cirr]
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from diptych.config import building
from diptych.config.command_line import composed
from diptych.models.composers.good4cir_release import ReleasedModel, Unwritten, read_release
from diptych.parallel import checkpoints
from diptych.parallel.checkpoints import AtomicCheckpointIO
from diptych.storage.whole import remove_unfinished, whole_folder, write_text

log = logging.getLogger(__name__)

_TEMPERATURE = "backbone.clip.logit_scale"  # CLIP's own, which the towers alone lack and no composer uses


def import_good4cir(checkpoint: str | Path, out: str | Path, data: str, unwritten: Unwritten) -> Path:
    """Writes `checkpoints/best.ckpt` and `config.yaml` into the new folder `out`, and returns it.

    The folder is as a run of `experiment=good4cir_cirr` with `data` leaves it, but for a CLIP without projections into
    its shared space, which the release drops: there are no baselines, and no search with a picture or a text alone.

    Raises:
        ValueError: the folder exists, there is no such data, or `read_release` refuses the file; nothing is written.
    """
    path, out = Path(checkpoint), Path(out)
    if out.exists():
        raise ValueError(f"{out} exists; name a folder that does not")
    config = composed("train", ["experiment=good4cir_cirr", f"data={data}"])
    released = read_release(path, unwritten)
    _set_model(config, released)
    system = building.build(config.system)
    unused = {_TEMPERATURE: system.model.state_dict()[_TEMPERATURE]}
    checkpoints.load_weights(system.model, {"state_dict": {**released.weights, **unused}}, path)
    write_imported(out, system.state_dict(), config)
    vision, words = released.architecture["vision_cfg"], released.architecture["text_cfg"]
    log.info(
        "CLIP: pictures of %d pixels in patches of %d, %d and %d wide, %d and %d heads, %s",
        *(vision["image_size"], vision["patch_size"], vision["width"], words["width"]),
        *(vision["width"] // vision["head_width"], words["heads"]),
        "QuickGELU" if released.architecture["quick_gelu"] else "GELU",
    )
    log.info("fusion: %d layers of %d heads", released.num_layers, released.num_heads)
    return out


def write_imported(out: Path, weights: Mapping[str, Tensor], config: DictConfig) -> None:
    """Writes the new folder as a run of this config leaves it: `checkpoints/best.ckpt` and `config.yaml`."""
    text = OmegaConf.to_yaml(config)
    remove_unfinished(out.parent, out.name)
    with whole_folder(out) as temporary:
        (temporary / "checkpoints").mkdir()
        whole = {"state_dict": dict(weights), checkpoints.KEY: checkpoints.describe(text)}
        AtomicCheckpointIO().save_checkpoint(whole, temporary / "checkpoints/best.ckpt")
        write_text(temporary / "config.yaml", text)


def _set_model(config: DictConfig, released: ReleasedModel) -> None:
    """Makes it the config of a run that would have left this model."""
    architecture = "system.model.backbone.architecture"
    settings = {
        "name": "good4cir_imported",
        "system.model.num_layers": released.num_layers,
        "system.model.num_heads": released.num_heads,
        "system.model.backbone.name": "imported",
        "system.model.backbone.pretrained": None,
        architecture: released.architecture,
        "system.model.backbone.preprocessing.architecture": f"${{{architecture}}}",
    }
    for key, value in settings.items():
        OmegaConf.update(config, key, value, merge=False)

"""From a checkpoint to the objects that it describes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import lightning as L
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from diptych.config import building, checking
from diptych.config.plain_config import leaves, plain_section
from diptych.config.strangers import one_sentence, read_config
from diptych.config.written_places import keep_within
from diptych.models.fuser.peft_folder import Adapted, PeftFolder
from diptych.parallel import checkpoints, plain_checkpoints
from diptych.parallel.plain_checkpoints import is_plain
from diptych.parallel.sharded_checkpoints import is_sharded
from diptych.parallel.tensor_budget import TensorBudget
from diptych.storage.weights_files import USES, kind_of, weights_in

log = logging.getLogger(__name__)


def config_of(checkpoint: dict[str, Any], path: str | Path, data_dir: str | Path | None = None) -> DictConfig:
    """The composed, unresolved config of the run that wrote the checkpoint, which was read from `path`, in this
    version's names. With the user's `data_dir` it is that of the config too, and what the config has written lies in
    it, or where it was written before.

    Raises:
        ValueError: it is no config, or asks for what a stranger's may not (see `read_config`).
    """
    config = read_config(checkpoints.config_text(checkpoint), f"{path}: its config")
    if data_dir is not None:
        config.data_dir = str(data_dir)
        with one_sentence(f"{path}: its config"):
            keep_within(config, ("system", "data"), data_dir)
    return config


def build_trained(
    trained: DictConfig, data: DictConfig, data_dir: str, weights: Mapping[str, Tensor], path: str | Path
) -> tuple[L.LightningDataModule, L.LightningModule]:
    """The datamodule of `data` and the system that the config of the checkpoint at `path` describes, both without
    having read or loaded anything. The system is not much larger than the checkpoint's `weights`.

    Raises:
        ValueError: they do not fit each other, or the config names what a checkpoint may not.
    """
    with one_sentence(f"{path}: its config"):
        described = {
            "system": trained.system,
            "data": data,
            "data_dir": data_dir,
            "seed": trained.seed,
            "trainer": {"max_steps": trained.trainer.max_steps},  # the scheduler's length is an interpolation of it
        }
        composed = OmegaConf.create(described)
        checking.check_data_fits_system(composed, trusted=False)
        merged = checking.check_untrusted(composed)
        checking.check_data_root(merged)
        building.settle(merged, "system")
    with _in_one_sentence(path):
        datamodule = building.build_data(merged.data)
    system = build_within(weights, merged.system, path)
    check_rank(getattr(system, "model", None), weights, path)
    return datamodule, system


def build_within(weights: Mapping[str, Tensor], node: DictConfig, path: str | Path, **settings: Any) -> Any:
    """As `building.build`, of what the checkpoint at `path` holds these weights of.

    Raises:
        ValueError: it would be far larger than they are, or its parts do not go together.
    """
    with _in_one_sentence(path), TensorBudget(weights, str(path)):
        return building.build(node, **settings)


@contextmanager
def _in_one_sentence(path: str | Path) -> Iterator[None]:
    """The errors of parts that do not go together, which each library words in its way."""
    try:
        yield
    except (HydraException, TypeError, RuntimeError, ArithmeticError, LookupError, AttributeError) as error:
        reason = str(error.__cause__ or error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{path}: its config describes nothing that can be built: {reason[0]}") from error


def check_rank(model: Any, weights: Mapping[str, Tensor], path: str | Path) -> None:
    """ValueError unless a model that gets its weights from elsewhere, and an adapter, is of the adapter's rank."""
    rank = getattr(model, "rank", None)
    found = {len(tensor) for name, tensor in weights.items() if "lora_A" in name and tensor.ndim}
    if rank is not None and found and found != {rank}:
        raise ValueError(f"{path}: its config says system.model.rank={rank}, its weights {sorted(found)}")


def with_model_of_checkpoint(config: DictConfig) -> DictConfig:
    """The config of a training; where it names no class of a model (`system/model=checkpoint`) with that of the
    checkpoint in `init_from`, changed by the single settings that the config has.

    Raises:
        ValueError: `init_from` is not set, its checkpoint cannot be read, or names what a checkpoint may not.
    """
    own = config.system.get("model")
    if own is None or "_target_" in own:  # a system of somebody's own may have no model
        return config
    if config.init_from is None:
        raise ValueError(
            "system/model=checkpoint is the model of the checkpoint that a run starts from: name it, init_from=FOLDER"
        )
    path = checkpoint_path(config.init_from)
    with one_sentence(f"{path}: its config"):
        model = config_of(checkpoints.load(path, weights_alone=True), path).system.model
    checking.check_untrusted(OmegaConf.create({"system": {"model": model}}))
    whole = OmegaConf.create(plain_section(config, resolve=False))
    whole.system.model = OmegaConf.merge(model, own)
    return whole


def load_first_weights(system: L.LightningModule, config: DictConfig) -> None:
    """Puts the weights of the checkpoint in `init_from`, a file or a run's folder, into the system of a new run. Logs
    a warning with the settings of the model that were others there: not all of them show in the weights. Of an
    adapter's folder, as PEFT saves it, it puts in the adapter.

    Raises:
        ValueError: it cannot be read, or the weights are another model's; names the settings that differ.
    """
    if kind_of(Path(config.init_from)) == "adapter":
        load_adapter(system, Path(config.init_from))
        return
    path = checkpoint_path(config.init_from)
    checkpoint = checkpoints.load(path, weights_alone=True)
    there, here = (
        dict(leaves(plain_section(of.system, resolve=False).get("model"), "system.model"))
        for of in (config_of(checkpoint, path), config)
    )
    unlike = [name for name, value in here.items() if not isinstance(value, dict) and there.get(name, value) != value]
    try:
        checkpoints.load_weights(system, checkpoint, path)
    except ValueError as error:
        differing = f"; these settings are others there: {', '.join(unlike)}" if unlike else ""
        raise ValueError(
            f"init_from: {error}{differing}. system/model=checkpoint takes the model as it was trained"
        ) from error
    if unlike:
        told = ", ".join(f"{name}={here[name]} ({there[name]} there)" for name in unlike)
        log.warning("init_from: the model that these weights are of had other settings: %s", told)


def load_adapter(system: L.LightningModule, path: Path) -> None:
    """Puts an adapter's folder into a captioning system whose base model is loaded, and says which layers it has.

    Raises:
        ValueError: the system has no such adapter, or `PeftFolder.load_into` refuses it.
    """
    if getattr(system.model, "adapter_format", None) != "peft":
        raise ValueError(f"{path} is an adapter of a language model, and system.model is none that takes it")
    folder, model = PeftFolder.read(path), cast(Adapted, system.model)  # whose type Lightning's class hides
    layers = folder.load_into(model)
    log.info("%s: an adapter of rank %d on %s of %s", path, folder.rank, ", ".join(layers), model.name)


def checkpoint_path(given: str | Path) -> Path:
    """The checkpoint's file, or the folder of one that is in pieces or exported; of a run directory its best one, of a
    folder of CLIP weights theirs.

    Raises:
        ValueError: the folder is a model of another kind; says what takes it.
    """
    path = Path(given)
    if path.is_file() and path.name == plain_checkpoints.WEIGHTS and is_plain(path.parent):
        return path.parent  # the weights of an export, which its folder describes
    if not path.is_dir() or is_sharded(path) or is_plain(path):
        return path
    kind = kind_of(path)
    if kind == "clip":
        return weights_in(path)
    if kind in USES and kind != "checkpoint":
        raise ValueError(f"{path}: {USES[kind]}")
    return path / "checkpoints" / "best.ckpt"

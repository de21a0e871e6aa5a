"""Checkpoints: written whole or not at all, read without running code, and describing themselves."""

from __future__ import annotations

import hashlib
import logging
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO
from torch import Tensor

import diptych
from diptych.parallel import plain_checkpoints, sharded_checkpoints
from diptych.storage.checksums import check_zip
from diptych.storage.weights_files import USES, kind_of
from diptych.storage.whole import remove_unfinished, whole_file

log = logging.getLogger(__name__)

# 1: modules lay elsewhere, see storage/moved_names.py. 2: models/composers/good4cir.py had other weights.
FORMAT = 3
_READABLE = (1, 2, 3)
_LONGEST_REASON = 300
KEY = "diptych"  # where a checkpoint keeps what is ours
_OF_A_TRAINING: dict[str, Any] = {
    "global_step": int,
    "state_dict": Mapping,
    "loops": Mapping,
    "callbacks": Mapping,
    "optimizer_states": list,
    "lr_schedulers": list,
    "epoch": int,
}  # what Lightning goes on with
_PACKAGES = (
    "torch",
    "torchvision",
    "lightning",
    "open_clip_torch",
    "transformers",
    "peft",
    "bitsandbytes",
    "sentence-transformers",
    "spacy",
    "sentencex",
    "hydra-core",
)


class AtomicCheckpointIO(CheckpointIO):
    """Writes to a temporary file, syncs it and renames it: a full disk or a kill leaves the previous file as it was.

    Torch writes a CRC-32 of every tensor but does not read it; here it is compared. Reads with `weights_only=True`: a
    checkpoint holds tensors and plain types, and a stranger's runs no code.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Writes the checkpoint to `path`; raises OSError, naming the file, when the disk is full."""
        path = Path(path)
        remove_unfinished(path.parent, path.name)  # it is large, and would be there as often as runs were killed
        try:
            with whole_file(path) as temporary, temporary.open("wb") as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:  # torch reports a short write as RuntimeError
            raise OSError(
                f"could not save the checkpoint {path}: {error}. The previous one, if any, is untouched"
            ) from error
        sharded_checkpoints.remove_shards(path)  # of the checkpoint in pieces that was there before

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """The checkpoint's dictionary, on the CPU unless `map_location` says otherwise."""
        return load(path, map_location or "cpu")

    def remove_checkpoint(self, path: str | Path) -> None:
        """Deletes the checkpoint, if it is there."""
        Path(path).unlink(missing_ok=True)
        sharded_checkpoints.remove_shards(Path(path))


def load(path: str | Path, map_location: Any = "cpu", weights_alone: bool = False) -> dict[str, Any]:
    """Reads a checkpoint of ours, whole, in pieces or exported to a folder; ValueError when it is missing, truncated,
    damaged by one bit, unsafe, or another program's. With `weights_alone` the sharded state of the optimizer in a
    checkpoint in pieces is not read.
    """

    def empty_like(place: str, tensor: Tensor) -> Tensor | None:
        if weights_alone and not place.startswith("state_dict/"):
            return None
        return torch.empty_like(tensor, device=map_location)

    return load_into(path, empty_like, map_location)


def load_into(
    path: str | Path, empty_like: Callable[[str, Tensor], Tensor | None], map_location: Any = "cpu"
) -> dict[str, Any]:
    """As `load`, with the sharded tensors of a checkpoint in pieces read into what `empty_like(place, tensor)` returns;
    see `sharded_checkpoints.load`.
    """
    path = Path(path)
    if plain_checkpoints.is_plain(path):
        checkpoint = plain_checkpoints.load(path, map_location)
    else:
        checkpoint = _unpickled(path, empty_like, map_location)
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get(KEY), dict):
        use = USES.get(kind_of(path))
        raise ValueError(
            f"{path}: this checkpoint was not written by Diptych (it has no {KEY!r} entry){f'; {use}' if use else ''}"
        )
    written_as = checkpoint[KEY].get("format")
    if not isinstance(written_as, int) or written_as not in _READABLE:
        known = ", ".join(map(str, _READABLE))
        raise ValueError(f"{path}: checkpoint format {str(written_as)[:40]}, this version reads {known}")
    if not isinstance(checkpoint[KEY].get("config"), str):
        raise ValueError(f"{path}: {_found(checkpoint[KEY], 'config')}, not the settings of a run")
    _check_weights(checkpoint, path)
    return checkpoint


def _unpickled(path: Path, empty_like: Callable[[str, Tensor], Tensor | None], map_location: Any) -> Any:
    """What is in a checkpoint of torch's, whole or in pieces."""
    sharded = sharded_checkpoints.is_sharded(path)
    if not sharded and not path.is_file():
        raise ValueError(f"{path}: there is no such checkpoint file")
    try:
        if sharded:
            return sharded_checkpoints.load(path, empty_like)
        with path.open("rb") as file:
            check_zip(file)
        return torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # the unpickler, the zip reader and torch each raise their own kinds
        raise ValueError(_why_unread(path, error)) from error


def _why_unread(path: Path, error: Exception) -> str:
    """One sentence on a file that is no checkpoint; torch's own would advise to run what it holds."""
    if (kind := kind_of(path)) in USES and kind != "checkpoint":
        return f"{path}: {USES[kind]}"
    line = (str(error).strip().splitlines() or [type(error).__name__])[0][:_LONGEST_REASON]
    reason = "it holds code, which is not run" if "weights_only" in str(error) or "Weights only" in str(error) else line
    return (
        f"{path}: not a readable checkpoint; it may be truncated, or hold code that is not run: {reason}. Take a copy"
        " of it, or another checkpoint"
    )


def check(path: Path, quick: bool = False) -> None:
    """Reads a checkpoint, with `quick` only what lists its tensors, without keeping it in memory.

    Raises:
        ValueError: it is missing, truncated or damaged.
    """
    try:
        if sharded_checkpoints.is_sharded(path):
            sharded_checkpoints.check(path, quick)
        else:
            with path.open("rb") as file:
                check_zip(file, quick)
    except Exception as error:  # as in `load_into`
        raise ValueError(f"{path} is damaged, or no checkpoint: {error}. Take a copy of it, or another one") from error


def _check_weights(checkpoint: Mapping[str, Any], path: Path) -> None:
    """ValueError unless the weights, if there are any, are plain tensors by name, and every number of the weights and
    of all else, such as an optimizer's state, is in the file: a tensor of a few bytes may claim to be repeated to
    terabytes.
    """
    for place, tensor in sharded_checkpoints.tensors(checkpoint):
        if type(tensor) not in (Tensor, torch.nn.Parameter) or tensor.is_meta:  # a part of one that is sharded
            continue
        if (
            tensor.layout is torch.strided
            and tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()
        ):
            raise ValueError(f"{path}: the tensor {place[:80]!r} claims {tensor.numel():,} numbers, and holds fewer")
    if "state_dict" not in checkpoint:
        return
    weights = checkpoint["state_dict"]
    if not isinstance(weights, Mapping):
        raise ValueError(f"{path}: {_found(checkpoint, 'state_dict')}, not weights by name")
    for name, tensor in weights.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor) or tensor.layout is not torch.strided:
            raise ValueError(f"{path}: state_dict[{str(name)[:80]!r}] is a {type(tensor).__name__}, no plain tensor")
    whole = [tensor for tensor in weights.values() if type(tensor) is Tensor and not tensor.is_meta]
    held = {storage.data_ptr(): storage.nbytes() for storage in (tensor.untyped_storage() for tensor in whole)}
    if sum(tensor.numel() * tensor.element_size() for tensor in whole) > 4 * sum(held.values()):  # some are shared
        raise ValueError(f"{path}: its weights repeat each other; together they claim far more than the file holds")


def _found(content: Mapping[str, Any], key: str) -> str:
    return f"its {key} is a {type(content[key]).__name__}" if key in content else f"it has no {key}"


def step_of(checkpoint: Mapping[str, Any], path: str | Path) -> int:
    """The step of the optimizer after which it was written; ValueError where the checkpoint at `path` lacks anything
    that a training goes on with.
    """
    for key, kind in _OF_A_TRAINING.items():
        value = checkpoint.get(key)
        if not isinstance(value, kind) or isinstance(value, bool) or (kind is int and value < 0):
            raise ValueError(
                f"{path}: no training can go on from it: {_found(checkpoint, key)}. Its weights may start a new run:"
                " init_from=FILE"
            )
    step: int = checkpoint["global_step"]
    return step


def consolidate(folder: Path) -> None:
    """Makes every checkpoint in pieces in the folder an ordinary file; one process calls it, and needs the memory of a
    whole checkpoint. A full disk is logged as an error: the checkpoint in pieces is as good.
    """
    for path in sorted(folder.glob("*.ckpt")):
        if sharded_checkpoints.is_sharded(path):
            try:
                AtomicCheckpointIO().save_checkpoint(load(path), path)
            except OSError as error:
                log.error("%s", error)


def describe(config_text: str) -> dict[str, Any]:
    """What goes into a checkpoint beside the weights: the composed, unresolved config and the versions."""
    return {"format": FORMAT, "config": config_text, "versions": versions()}


def config_text(checkpoint: dict[str, Any]) -> str:
    """The composed config of the run that wrote the checkpoint."""
    return checkpoint[KEY]["config"]


def weights_of(checkpoint: Mapping[str, Any], path: str | Path) -> Mapping[str, Tensor]:
    """The weights by name; ValueError where the checkpoint at `path` holds none."""
    if "state_dict" not in checkpoint:
        raise ValueError(f"{path}: this checkpoint holds no weights")
    weights: Mapping[str, Tensor] = checkpoint["state_dict"]
    return weights


def load_weights(module: torch.nn.Module, checkpoint: Mapping[str, Any], path: str | Path) -> None:
    """Puts the checkpoint's weights into the module; ValueError that names the first keys when they do not fit."""
    try:
        targets = module.state_dict()
        weights = {
            name: sharded_checkpoints.like(tensor, targets[name]) if name in targets else tensor
            for name, tensor in weights_of(checkpoint, path).items()
        }
        result = module.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise ValueError(f"{path}: the weights have other shapes than this model: {error}") from error
    if result.missing_keys or result.unexpected_keys:
        raise ValueError(
            f"{path}: the weights belong to another model; missing {result.missing_keys[:3]}, "
            f"unexpected {result.unexpected_keys[:3]}"
        )


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """Stands for these weights and their names: 64 hexadecimal characters."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Python's version, ours, and those of the packages that decide numbers; what is not installed is left out."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return {**found, "diptych": diptych.__version__}

"""Checkpoints: written whole or not at all, read without running code, and describing themselves."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO

FORMAT = 1
KEY = "diptych"  # where a checkpoint keeps what is ours
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
    "diptych",
)


class AtomicCheckpointIO(CheckpointIO):
    """Writes to a temporary file, syncs it and renames it: a full disk or a kill leaves the previous file as it was.

    Reads with `weights_only=True`: a checkpoint holds tensors and plain types, and a stranger's runs no code.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Writes the checkpoint to `path`; raises OSError, naming the file, when the disk is full."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")  # one name: what a kill leaves is overwritten, not collected
        try:
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except (OSError, RuntimeError) as error:  # torch reports a short write as RuntimeError
            raise OSError(
                f"could not save the checkpoint {path}: {error}. The previous one, if any, is untouched"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """The checkpoint's dictionary, on the CPU unless `map_location` says otherwise."""
        return load(path, map_location or "cpu")

    def remove_checkpoint(self, path: str | Path) -> None:
        """Deletes the file, if it is there."""
        Path(path).unlink(missing_ok=True)


def load(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Reads a checkpoint of ours; ValueError when it is missing, truncated, unsafe, or another program's."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: there is no such checkpoint file")
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # the unpickler, the zip reader and torch each raise their own kinds
        raise ValueError(
            f"{path}: not a readable checkpoint; it may be truncated, or hold code that is not run: {error}"
        ) from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get(KEY), dict):
        raise ValueError(f"{path}: this checkpoint was not written by Diptych (it has no {KEY!r} entry)")
    if checkpoint[KEY].get("format") != FORMAT:
        raise ValueError(f"{path}: checkpoint format {checkpoint[KEY].get('format')}, this version reads {FORMAT}")
    return checkpoint


def describe(config_text: str) -> dict[str, Any]:
    """What goes into a checkpoint beside the weights: the composed, unresolved config and the versions."""
    return {"format": FORMAT, "config": config_text, "versions": versions()}


def config_text(checkpoint: dict[str, Any]) -> str:
    """The composed config of the run that wrote the checkpoint."""
    return checkpoint[KEY]["config"]


def load_weights(module: torch.nn.Module, checkpoint: dict[str, Any], path: str | Path) -> None:
    """Puts the checkpoint's weights into the module; ValueError that names the first keys when they do not fit."""
    if "state_dict" not in checkpoint:
        raise ValueError(f"{path}: this checkpoint holds no weights")
    try:
        result = module.load_state_dict(checkpoint["state_dict"], strict=False)
    except RuntimeError as error:
        raise ValueError(f"{path}: the weights have other shapes than this model: {error}") from error
    if result.missing_keys or result.unexpected_keys:
        raise ValueError(
            f"{path}: the weights belong to another model; missing {result.missing_keys[:3]}, "
            f"unexpected {result.unexpected_keys[:3]}"
        )


def versions() -> dict[str, str]:
    """Python's version and those of the packages that decide numbers."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def _sync_folder(folder: Path) -> None:
    """Makes the rename itself durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

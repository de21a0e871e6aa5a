"""Checkpoints as a folder of plain files, in which nothing is pickled: `diptych export` writes them.

`model.safetensors` holds the weights, under the names that they have in a run's checkpoint; `diptych.json` all else:

    {"format": 3, "step": 600, "versions": {"torch": ...}, "files": {"model.safetensors": SHA-256}, "config": {...}}

A file that is not as `diptych.json` says is not read. That guards against copies that broke off or were mixed up, not
against people: who writes the one can write the other.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from diptych.storage.checksums import sha256_of_file
from diptych.storage.json_files import read_json, write_json
from diptych.storage.json_shapes import Count
from diptych.storage.json_values import json_text
from diptych.storage.weights_files import EXPORTED

DESCRIPTION, WEIGHTS = EXPORTED, "model.safetensors"
_ADVICE = "export it, or download it, once more"
_SHAPE = {"format": int, "step?": Count, "versions?": {str: str}, "files": {str: str}, "config": dict}


def is_plain(path: Path) -> bool:
    """True if `path` is the folder of an exported checkpoint."""
    return (path / DESCRIPTION).is_file()


def files_of(folder: Path) -> tuple[Path, Path]:
    """What of the folder decides the embeddings."""
    return folder / DESCRIPTION, folder / WEIGHTS


def write(folder: Path, weights: Mapping[str, Tensor], said: Mapping[str, Any]) -> None:
    """Fills a folder that is being written: the weights, and `said` (format, step, versions, config) with the SHA-256
    of every file that is in the folder by then.
    """
    # Clones: tensors that share their numbers, as tied weights do, are not taken.
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in weights.items()}, folder / WEIGHTS)
    files = {path.name: sha256_of_file(path) for path in sorted(folder.iterdir())}
    write_json(folder / DESCRIPTION, {**said, "files": files}, ascii_only=False)
    shutil.copymode(folder / DESCRIPTION, folder / WEIGHTS)  # safetensors lets nobody else read its files


def description(folder: Path) -> dict[str, Any]:
    """The content of the folder's `diptych.json`.

    Raises:
        ValueError: it is damaged, or of another shape; names the file and the key.
    """
    said: dict[str, Any] = read_json(folder / DESCRIPTION, _ADVICE, shape=_SHAPE)
    return said


def check_file(folder: Path, name: str, said: Mapping[str, Any]) -> None:
    """ValueError, naming the file, unless it is there and as the description of the folder says."""
    path, expected = folder / name, said["files"].get(name)
    if Path(name).name != name:
        raise ValueError(f"{folder / DESCRIPTION}: its files name {name!r:.80}, which is no file of the folder")
    if not path.is_file():
        raise ValueError(f"{path} is not there, and {DESCRIPTION} beside it belongs to it; {_ADVICE}")
    if expected is None or sha256_of_file(path) != expected:
        raise ValueError(f"{path} is not the file that was exported: its SHA-256 is not in {DESCRIPTION}; {_ADVICE}")


def load(folder: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """The checkpoint as one that was unpickled: `state_dict`, `global_step`, and what `diptych` has in those.

    Raises:
        ValueError: a file is missing, damaged, of another export, or no safetensors; names it.
    """
    said = description(folder)
    check_file(folder, WEIGHTS, said)
    try:
        weights = load_file(folder / WEIGHTS, device=str(torch.device(map_location)))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ValueError(f"{folder / WEIGHTS} cannot be read as safetensors ({error}); {_ADVICE}") from error
    return {
        "diptych": {
            "format": said["format"],
            "config": json_text(said["config"]),  # which is YAML, too
            "versions": said.get("versions") or {},
        },
        "global_step": said.get("step"),
        "state_dict": weights,
    }

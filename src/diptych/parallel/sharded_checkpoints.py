"""Checkpoints in pieces: every process writes its own shards of the large tensors, the first one everything else.

`last.ckpt` is then a link to one of two folders beside it, `last.shards-0` and `last.shards-1`, which are written in
turn: the link is moved by a rename when the new folder is whole, so a kill at any moment leaves a readable checkpoint.
A folder holds `skeleton.pt`, the checkpoint as everybody's but with tensors without content (on the device `meta`)
instead of the sharded ones, and these in the files of torch.distributed.checkpoint, named by their paths. Every tensor
has a checksum, as torch writes it, and so has the description of the shards; each process checks what it reads.
"""

from __future__ import annotations

import copy
import io
import pickle
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.futures import Future

from diptych.storage.checksums import Damaged, check_seal, check_zip, seal
from diptych.storage.whole import move, remove_unfinished, sync_folder, whole_file, write_link

SKELETON = "skeleton.pt"
_FREE_BYTES = 2**20
_DESCRIPTION = ".metadata"  # so torch calls it
_METADATA_CLASSES = {  # all that the file of torch.distributed.checkpoint that describes the shards may name
    ("torch", "Size"),
    ("torch.serialization", "_get_layout"),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    *(
        ("torch.distributed.checkpoint.metadata", name)
        for name in (
            "Metadata",
            "MetadataIndex",
            "TensorStorageMetadata",
            "ChunkStorageMetadata",
            "TensorProperties",
            "_MEM_FORMAT_ENCODING",
        )
    ),
}


# ---------------------------------------------------------------------------------------------------- writing


def save(checkpoint: dict[str, Any], path: Path) -> None:
    """Writes the checkpoint to `path`, every process its shards; all processes must call it, with the same path.

    Raises:
        OSError: it could not be written, on every process; what was at `path` before is untouched.
    """
    skeleton, shards = _split(checkpoint)
    try:
        folder = Path(_on_first_rank(lambda: _prepare_folder(path, skeleton)))
        dcp.save(shards, storage_writer=_QuietWriter(folder))
        _on_first_rank(lambda: _point(path, folder))
    except (OSError, CheckpointException) as error:
        raise OSError(
            f"could not save the checkpoint {path}: {_reason(error)}. The previous one, if any, is untouched"
        ) from error


class _QuietWriter(FileSystemWriter):
    """Leaves the folder's absolute path out of what it writes."""

    def storage_meta(self) -> None:
        return None


def _reason(error: BaseException) -> str:
    """What went wrong, of an error of torch.distributed.checkpoint the first process's without its traceback."""
    failures = list(error.failures.values()) if isinstance(error, CheckpointException) else []
    return str(failures[0][0] if failures else error)


def remove_shards(path: Path) -> None:
    """Deletes the folders that `path` was a link to."""
    for folder in _folders(path):
        shutil.rmtree(folder, ignore_errors=True)


def _folders(path: Path) -> tuple[Path, Path]:
    return path.with_name(f"{path.stem}.shards-0"), path.with_name(f"{path.stem}.shards-1")


def _prepare_folder(path: Path, skeleton: dict[str, Any]) -> str:
    """Empties the folder that `path` does not point to, and puts the skeleton there."""
    first, second = _folders(path)
    if path.is_dir() and not path.is_symlink():  # copied by a program that follows links
        shutil.rmtree(first, ignore_errors=True)
        move(path, first)
        path.symlink_to(first.name)
    folder = second if path.is_symlink() and path.readlink().name == first.name else first
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with whole_file(folder / SKELETON) as temporary, temporary.open("wb") as file:
            torch.save(skeleton, file)
    except RuntimeError as error:  # so torch reports a short write
        raise OSError(str(error)) from error
    return str(folder)


def _point(path: Path, folder: Path) -> None:
    """Makes `path` a link to the folder, in one step, and deletes the folder that it pointed to."""
    seal(folder / _DESCRIPTION)
    sync_folder(folder)
    remove_unfinished(path.parent, path.name)
    write_link(path, folder.name)
    for other in _folders(path):
        if other.name != folder.name:
            shutil.rmtree(other, ignore_errors=True)


def _on_first_rank(action: Callable[[], Any]) -> Any:
    """The action's result on every process; its OSError too, so that none waits for the others."""
    outcome: list[Any] = [None, None]
    if dist.get_rank() == 0:
        try:
            outcome[0] = action()
        except OSError as error:
            outcome[1] = str(error)
    dist.broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise OSError(outcome[1])
    return outcome[0]


# ---------------------------------------------------------------------------------------------------- reading


def is_sharded(path: Path) -> bool:
    """True if `path` is a checkpoint in pieces: a folder, or a link to one."""
    return (path / SKELETON).is_file()


def load(path: Path, empty_like: Callable[[str, Tensor], Tensor | None]) -> dict[str, Any]:
    """Reads a checkpoint in pieces, whatever number of processes wrote it, without running code that it may hold.

    `empty_like` is given the path of a sharded tensor, such as `state_dict/model.projection.weight`, and a tensor of
    its shape and type without content. It returns what to read it into: a whole tensor; one sharded over the
    processes, of which each reads its own part alone; or None to leave it without content.

    Raises what the unpickler and torch raise, and OSError when a shard cannot be read.
    """
    with (path / SKELETON).open("rb") as file:
        check_zip(file)
    skeleton = torch.load(path / SKELETON, map_location="cpu", weights_only=True)
    places: dict[str, Tensor] = {}
    held = sum(file.stat().st_size for file in path.iterdir())
    claimed = sum(tensor.numel() * tensor.element_size() for _, tensor in tensors(skeleton) if tensor.is_meta)
    if claimed > _FREE_BYTES + 2 * held:
        raise OSError(f"its tensors claim {claimed:,} bytes, and its files have {held:,}")

    def fill(place: str, tensor: Tensor) -> Tensor:
        empty = empty_like(place, tensor) if tensor.is_meta else None
        if empty is None:
            return tensor
        places[place] = empty
        return empty

    checkpoint = replace_tensors(skeleton, fill)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        try:
            dcp.load(places, storage_reader=_CarefulReader(path), no_dist=True)  # each process by itself
        except CheckpointException as error:  # which is no Exception
            raise OSError(_reason(error)) from error
    return checkpoint


def check(path: Path, quick: bool = False) -> None:
    """Reads what lists a checkpoint in pieces, and unless `quick` every shard. Raises as `load`."""
    with (path / SKELETON).open("rb") as file:
        check_zip(file, quick)
    for place in _CarefulReader(path).read_metadata().storage_data.values():
        if not quick:
            _check_shard(path, place)


def _check_shard(folder: Path, place: Any) -> None:
    """Damaged, naming the file, unless the piece of a shard at this place is as it was written."""
    with (folder / place.relative_path).open("rb") as file:
        file.seek(place.offset)
        content = io.BytesIO(file.read(place.length))
    try:
        check_zip(content)
    except Damaged as error:
        raise Damaged(f"{place.relative_path}, from byte {place.offset:,}: {error}") from None


class _CarefulReader(FileSystemReader):
    """Reads the description of the shards, a pickle, with the few classes that belong there, and no shard before its
    checksums are compared.
    """

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        for place in {item.storage_index: self.storage_data[item.storage_index] for item in plan.items}.values():
            _check_shard(Path(self.path), place)
        return super().read_data(plan, planner)

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        check_seal(Path(self.path) / _DESCRIPTION)
        with (Path(self.path) / _DESCRIPTION).open("rb") as file:
            metadata = _MetadataUnpickler(file).load()
        # Anything but tensors would be unpickled without care when it is read.
        unknown = {type(entry).__name__ for entry in metadata.state_dict_metadata.values()} - {"TensorStorageMetadata"}
        if unknown:
            raise pickle.UnpicklingError(f"the shards hold {', '.join(sorted(unknown))}, not tensors alone")
        for entry in metadata.storage_data.values():
            if Path(entry.relative_path).name != entry.relative_path:
                raise pickle.UnpicklingError(f"a shard lies outside the checkpoint: {entry.relative_path}")
        return metadata


class _MetadataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _METADATA_CLASSES:
            return super().find_class(module, name)
        if module == "torch" and isinstance(dtype := getattr(torch, name, None), torch.dtype):
            return dtype
        raise pickle.UnpicklingError(f"the description of the shards names {module}.{name}, which is not allowed there")


# ---------------------------------------------------------------------------------------------------- shards


def like(tensor: Tensor, target: Tensor) -> Tensor:
    """The whole tensor as the target is: sharded over the same processes, this one's part alone, or as it was."""
    if not isinstance(target, DTensor) or isinstance(tensor, DTensor):
        return tensor
    whole = tensor.to(target.device)
    return distribute_tensor(whole, target.device_mesh, target.placements, src_data_rank=None)  # nothing is sent


def _split(checkpoint: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The checkpoint with sharded tensors replaced by ones without content, and these by path."""
    shards: dict[str, Tensor] = {}

    def empty(place: str, tensor: Tensor) -> Tensor:
        if not isinstance(tensor, DTensor):
            return tensor
        shards[place] = tensor
        return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")

    return replace_tensors(checkpoint, empty), shards


def tensors(node: Any, place: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor in nested dicts, lists and tuples, by its path."""
    if isinstance(node, Tensor):
        yield place, node
    elif isinstance(node, Mapping | list | tuple):
        for key, value in node.items() if isinstance(node, Mapping) else enumerate(node):
            yield from tensors(value, f"{place}/{key}" if place else str(key))


def replace_tensors(node: Any, function: Callable[[str, Tensor], Tensor], place: str = "") -> Any:
    """A copy of nested dicts, lists and tuples with `function(place, tensor)` instead of every tensor."""
    if isinstance(node, Tensor):
        return function(place, node)
    if isinstance(node, MutableMapping):
        changed = copy.copy(node)
        for key, value in node.items():
            changed[key] = replace_tensors(value, function, f"{place}/{key}" if place else str(key))
        return changed
    if type(node) in (list, tuple):
        return type(node)(replace_tensors(value, function, f"{place}/{number}") for number, value in enumerate(node))
    return node

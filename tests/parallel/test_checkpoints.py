from __future__ import annotations

import os
import pickle
import resource
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import BytesStorageMetadata
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from diptych.parallel import checkpoints, sharded_checkpoints
from diptych.parallel.checkpoints import AtomicCheckpointIO

pytestmark = pytest.mark.slow


def checkpoint(value: float = 1.0, size: int = 3) -> dict:
    return {
        "state_dict": {"weight": torch.full((2, size), value), "bias": torch.zeros(2)},
        "global_step": 7,
        checkpoints.KEY: checkpoints.describe("name: ${a}\n"),
    }


def written(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def test_what_is_saved_is_loaded(tmp_path):
    path = tmp_path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(checkpoint(2.0), path)
    loaded = checkpoints.load(path)
    assert torch.equal(loaded["state_dict"]["weight"], torch.full((2, 3), 2.0)) and loaded["global_step"] == 7
    assert checkpoints.config_text(loaded) == "name: ${a}\n"
    assert loaded[checkpoints.KEY]["versions"]["torch"] == torch.__version__.split("+")[0]
    assert AtomicCheckpointIO().load_checkpoint(path)["global_step"] == 7
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


def test_a_checkpoint_needs_no_trust(tmp_path):
    AtomicCheckpointIO().save_checkpoint(checkpoint(), tmp_path / "last.ckpt")
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 7


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path):
    """A limit on the size of files stands in for the full disk: the write really fails half-way."""
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(checkpoint(1.0), path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(OSError, match=r"could not save the checkpoint .*last\.ckpt: .*previous one.*untouched"):
            AtomicCheckpointIO().save_checkpoint(checkpoint(2.0, size=100_000), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]  # no half file takes up the full disk
    AtomicCheckpointIO().save_checkpoint(checkpoint(3.0), path)
    assert checkpoints.load(path)["state_dict"]["weight"][0, 0] == 3


def test_a_failing_sync_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(checkpoint(1.0), path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"last\.ckpt.*No space left on device"):
        AtomicCheckpointIO().save_checkpoint(checkpoint(2.0), path)
    assert checkpoints.load(path)["state_dict"]["weight"][0, 0] == 1


def test_what_a_killed_save_left_is_overwritten(tmp_path):
    path = tmp_path / "last.ckpt"
    killed = tmp_path / ".last.ckpt.tmp"
    killed.write_bytes(b"half a checkpoint")
    AtomicCheckpointIO().save_checkpoint(checkpoint(), path)
    assert checkpoints.load(path)["global_step"] == 7 and not killed.exists()


def test_a_fingerprint_stands_for_names_and_bytes():
    weights = {"b": torch.ones(2, 3).T, "a": torch.tensor(2.0)}
    expected = sha256(b"a" + np.float32(2).tobytes() + b"b" + np.ones(6, np.float32).tobytes()).hexdigest()
    assert checkpoints.fingerprint(weights) == expected
    for other in ({**weights, "b": torch.ones(3, 2) * 2}, {**weights, "c": torch.zeros(0)}, {"b": weights["b"]}):
        assert checkpoints.fingerprint(other) != expected
    assert checkpoints.fingerprint({"a": torch.ones(2, dtype=torch.bfloat16, requires_grad=True)})


def test_removing_twice_is_no_error(tmp_path):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(checkpoint(), path)
    AtomicCheckpointIO().remove_checkpoint(path)
    AtomicCheckpointIO().remove_checkpoint(path)
    assert not path.exists()


# ------------------------------------------------------------------------------------------- what is refused


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no\.ckpt: there is no such checkpoint file"):
        checkpoints.load(tmp_path / "no.ckpt")


@pytest.mark.parametrize("kept", [0, 1, 100, -1])
def test_a_truncated_file_is_named(tmp_path, kept):
    path = written(tmp_path / "cut.ckpt", checkpoint())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"cut\.ckpt: not a readable checkpoint; it may be truncated"):
        checkpoints.load(path)


class Hostile:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("new_zipfile", [True, False])
def test_code_in_a_checkpoint_does_not_run(tmp_path, new_zipfile):
    path = tmp_path / "hostile.ckpt"
    content = checkpoint() | {"callbacks": Hostile(tmp_path / "ran")}
    torch.save(content, path, _use_new_zipfile_serialization=new_zipfile)
    with pytest.raises(ValueError, match=r"hostile\.ckpt: not a readable checkpoint.*code that is not run"):
        checkpoints.load(path)
    with pytest.raises(ValueError, match=r"hostile\.ckpt"):
        AtomicCheckpointIO().load_checkpoint(path, weights_only=False)  # not even when Lightning asks for it
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [{"state_dict": {}}, [1, 2], {"diptych": 3}, {"diptych": None}])
def test_another_programs_checkpoint_is_named(tmp_path, content):
    with pytest.raises(ValueError, match=r"other\.ckpt: this checkpoint was not written by Diptych"):
        checkpoints.load(written(tmp_path / "other.ckpt", content))


def test_a_format_of_the_future_is_named(tmp_path):
    content = checkpoint()
    content[checkpoints.KEY]["format"] = checkpoints.FORMAT + 1
    with pytest.raises(ValueError, match=r"new\.ckpt: checkpoint format 4, this version reads 1, 2, 3"):
        checkpoints.load(written(tmp_path / "new.ckpt", content))


# ------------------------------------------------------------------------------------------- in pieces


@pytest.fixture
def mesh():
    """A group of this process alone; what two do is tested in test_fsdp."""
    dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


def in_pieces(mesh, value: float = 1.0, size: int = 3) -> dict:
    weight, average = (distribute_tensor(torch.full((2, size), x), mesh, [Shard(0)]) for x in (value, value / 2))
    whole = checkpoint(value, size)
    whole["state_dict"]["weight"] = weight
    state = {"state": {0: {"step": torch.tensor(7.0), "exp_avg": average}}, "param_groups": [{"betas": (0.9, 0.98)}]}
    return whole | {"optimizer_states": [state]}


@pytest.fixture
def saved(mesh, tmp_path) -> Path:
    path = tmp_path / "checkpoints" / "last.ckpt"
    sharded_checkpoints.save(in_pieces(mesh, 2.0), path)
    return path


def test_what_is_saved_in_pieces_is_loaded_whole(saved):
    loaded = checkpoints.load(saved)
    assert torch.equal(loaded["state_dict"]["weight"], torch.full((2, 3), 2.0)) and loaded["global_step"] == 7
    assert torch.equal(loaded["state_dict"]["bias"], torch.zeros(2))
    assert checkpoints.config_text(loaded) == "name: ${a}\n"
    state = loaded["optimizer_states"][0]
    assert torch.equal(state["state"][0]["exp_avg"], torch.ones(2, 3)) and state["state"][0]["step"] == 7
    assert state["param_groups"] == [{"betas": (0.9, 0.98)}]


def test_the_weights_alone_leave_the_optimizer_unread(saved):
    loaded = checkpoints.load(saved, weights_alone=True)
    assert torch.equal(loaded["state_dict"]["weight"], torch.full((2, 3), 2.0))
    assert loaded["optimizer_states"][0]["state"][0]["exp_avg"].is_meta


def test_pieces_become_an_ordinary_file(saved):
    before = checkpoints.load(saved)
    checkpoints.consolidate(saved.parent)
    assert [file.name for file in saved.parent.iterdir()] == ["last.ckpt"] and not saved.is_symlink()
    after = torch.load(saved, weights_only=True)
    assert after.keys() == before.keys()
    assert torch.equal(after["state_dict"]["weight"], before["state_dict"]["weight"])
    assert torch.equal(after["optimizer_states"][0]["state"][0]["exp_avg"], torch.ones(2, 3))


def test_one_folder_of_shards_is_left_and_none_beside_a_file(mesh, saved):
    for value in (3.0, 4.0, 5.0):
        sharded_checkpoints.save(in_pieces(mesh, value), saved)
        assert checkpoints.load(saved)["state_dict"]["weight"][0, 0] == value
        assert len(list(saved.parent.iterdir())) == 2  # the link and what it points to
    AtomicCheckpointIO().save_checkpoint(checkpoint(6.0), saved)
    assert [file.name for file in saved.parent.iterdir()] == ["last.ckpt"]
    sharded_checkpoints.save(in_pieces(mesh, 7.0), saved)
    assert checkpoints.load(saved)["state_dict"]["weight"][0, 0] == 7
    AtomicCheckpointIO().remove_checkpoint(saved)
    assert list(saved.parent.iterdir()) == []


def test_a_copy_without_links_is_read_and_saved_over(mesh, saved, tmp_path):
    copied = tmp_path / "copy" / "last.ckpt"
    shutil.copytree(saved.parent, copied.parent)
    assert copied.is_dir() and not copied.is_symlink()
    assert checkpoints.load(copied)["state_dict"]["weight"][0, 0] == 2
    sharded_checkpoints.save(in_pieces(mesh, 3.0), copied)
    assert copied.is_symlink() and checkpoints.load(copied)["state_dict"]["weight"][0, 0] == 3


def test_a_full_disk_leaves_the_previous_pieces(mesh, saved):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(OSError, match=r"could not save the checkpoint .*last\.ckpt: .*previous one.*untouched"):
            sharded_checkpoints.save(in_pieces(mesh, 3.0, size=100_000), saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert checkpoints.load(saved)["state_dict"]["weight"][0, 0] == 2


def damage_shard(folder: Path, content: bytes | None) -> None:
    (shard,) = folder.glob("*.distcp")
    shard.write_bytes(content) if content is not None else shard.unlink()


@pytest.mark.parametrize("content", [None, b"", b"PK"])
def test_a_damaged_shard_is_named(saved, content):
    damage_shard(saved, content)
    with pytest.raises(ValueError, match=r"last\.ckpt: not a readable checkpoint; it may be truncated") as raised:
        checkpoints.load(saved)
    assert "Traceback" not in str(raised.value)


@pytest.mark.parametrize("file", ["skeleton.pt", ".metadata"])
def test_code_in_pieces_does_not_run(saved, tmp_path, file):
    hostile = Hostile(tmp_path / "ran")
    if file == "skeleton.pt":
        torch.save(checkpoint() | {"callbacks": hostile}, saved / file)
    else:
        (saved / file).write_bytes(pickle.dumps(hostile))
    with pytest.raises(ValueError, match=r"last\.ckpt: not a readable checkpoint.*code that is not run"):
        checkpoints.load(saved)
    assert not (tmp_path / "ran").exists()
    if file == ".metadata":
        with pytest.raises(AttributeError):  # the trap is one: torch's own reader falls into it
            FileSystemReader(saved).read_metadata()
        assert (tmp_path / "ran").exists()


def test_a_shard_that_is_no_tensor_is_not_unpickled(saved, tmp_path):
    """torch reads such an entry with a pickle that runs everything."""
    metadata = FileSystemReader(saved).read_metadata()
    metadata.state_dict_metadata["state_dict/weight"] = BytesStorageMetadata()
    metadata.storage_meta = None
    (saved / ".metadata").write_bytes(pickle.dumps(metadata))
    damage_shard(saved, pickle.dumps(Hostile(tmp_path / "ran")))
    with pytest.raises(ValueError, match=r"BytesStorageMetadata"):
        checkpoints.load(saved)
    assert not (tmp_path / "ran").exists()


def test_a_shard_outside_the_folder_is_not_read(saved):
    metadata = FileSystemReader(saved).read_metadata()
    for entry in metadata.storage_data.values():
        entry.relative_path = f"../{entry.relative_path}"
    metadata.storage_meta = None
    (saved / ".metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(ValueError, match=r"outside the checkpoint"):
        checkpoints.load(saved)


@pytest.mark.hostile("hostile checkpoints")
def test_pieces_that_claim_more_than_is_there_are_not_made_room_for(saved):
    skeleton = torch.load(saved / "skeleton.pt", weights_only=True)
    skeleton["state_dict"]["weight"] = torch.empty(2**40, device="meta")
    torch.save(skeleton, saved / "skeleton.pt")
    with pytest.raises(ValueError, match=r"its tensors claim 4,398,046,511,\d+ bytes, and its files have"):
        checkpoints.load(saved)


@pytest.mark.hostile("hostile checkpoints")
@pytest.mark.parametrize("place", ["state_dict", "optimizer_states", "callbacks"])
def test_a_tensor_that_is_repeated_to_terabytes(tmp_path, place):
    repeated = {"state_dict": {"weight": torch.zeros(1).expand(2**40)}}.get(
        place, [{"x": torch.zeros(1).expand(2**40)}]
    )
    path = written(tmp_path / "last.ckpt", checkpoint() | {place: repeated})
    with pytest.raises(ValueError, match=rf"the tensor '{place}/.* claims 1,099,511,627,776 numbers"):
        checkpoints.load(path)


# ------------------------------------------------------------------------------------------- weights


def test_weights_go_into_the_module():
    module = torch.nn.Linear(3, 2)
    checkpoints.load_weights(module, checkpoint(4.0), "best.ckpt")
    assert torch.equal(module.weight, torch.full((2, 3), 4.0))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (
            torch.nn.Linear(5, 2),
            r"best\.ckpt: the weights have other shapes than this model: (?s:.)*mismatch for weight",
        ),
        (torch.nn.Linear(3, 2, bias=False), r"best\.ckpt: .*another model; missing \[\], unexpected \['bias'\]"),
        (
            torch.nn.Sequential(torch.nn.Linear(3, 2)),
            r"missing \['0\.weight', '0\.bias'\], unexpected \['weight', 'bias'\]",
        ),
    ],
)
def test_weights_of_another_model_are_named(module, message):
    with pytest.raises(ValueError, match=message):
        checkpoints.load_weights(module, checkpoint(), "best.ckpt")


def test_a_checkpoint_without_weights_is_named():
    with pytest.raises(ValueError, match=r"best\.ckpt: this checkpoint holds no weights"):
        checkpoints.load_weights(torch.nn.Linear(3, 2), {checkpoints.KEY: {}}, "best.ckpt")


def test_the_versions_are_those_of_the_packages_that_decide_numbers():
    versions = checkpoints.versions()
    assert {"python", "torch", "torchvision", "lightning", "open_clip_torch", "diptych"} <= versions.keys()
    assert all(isinstance(version, str) for version in versions.values())

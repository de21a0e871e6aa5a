from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
import torch

from diptych import checkpoints
from diptych.checkpoints import AtomicCheckpointIO


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
    content[checkpoints.KEY]["format"] = 2
    with pytest.raises(ValueError, match=r"new\.ckpt: checkpoint format 2, this version reads 1"):
        checkpoints.load(written(tmp_path / "new.ckpt", content))


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

"""Checkpoints are what the state was when they were begun, whatever the training does while they are written."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import patience
from diptych.parallel import checkpoints
from diptych.parallel.checkpoint_thread import HostCopies, ThreadedCheckpointIO
from diptych.parallel.checkpoints import AtomicCheckpointIO


class Training:
    """A model with tied weights, of which one is stored column by column, and its optimizer, after one step."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.BatchNorm1d(4))
        self.model[1].weight = self.model[0].weight
        self.model[0].weight.data = torch.randn(4, 4).T
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1)
        self.step()

    def step(self) -> None:
        self.optimizer.zero_grad()
        self.model(torch.randn(8, 4)).square().mean().backward()
        self.optimizer.step()

    def state(self) -> dict:
        return {
            "state_dict": self.model.state_dict(),
            "optimizer_states": [self.optimizer.state_dict()],
            "global_step": 7,
            checkpoints.KEY: checkpoints.describe("name: a\n"),
        }


def plain(node: object) -> object:
    """Nested dicts and lists with numbers instead of tensors."""
    if isinstance(node, torch.Tensor):
        return node.dtype, node.tolist()
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items()}
    return [plain(value) for value in node] if isinstance(node, list) else node


@pytest.fixture
def gate(monkeypatch):
    """What the thread waits for before it writes."""
    gate, save = threading.Event(), AtomicCheckpointIO.save_checkpoint

    def late(self, *words):
        assert gate.wait(patience.SECONDS)
        save(self, *words)

    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", late)
    yield gate
    gate.set()


def test_the_content_is_that_of_a_save_that_is_waited_for_although_the_training_goes_on(tmp_path, gate):
    gate.set()
    training, writer = Training(), ThreadedCheckpointIO()
    for number in range(2):  # the second time into memory that is there
        now, then = tmp_path / f"{number}/now/last.ckpt", tmp_path / f"{number}/then/last.ckpt"
        AtomicCheckpointIO().save_checkpoint(training.state(), now)
        gate.clear()
        writer.save_checkpoint(training.state(), then)
        training.step()
        gate.set()
        assert writer.failures() == {}
        contents = [torch.load(path, weights_only=True) for path in (now, then)]
        assert plain(contents[0]) == plain(contents[1])
        weights = contents[1]["state_dict"]
        assert weights["0.weight"].stride() == (1, 4) and weights._metadata == training.model.state_dict()._metadata
        assert weights["0.weight"].data_ptr() == weights["1.weight"].data_ptr()


def test_copies_use_the_memory_of_those_before(tmp_path):
    training, copies = Training(), HostCopies()

    def places(copy):
        return [tensor.data_ptr() for tensor in copy["state_dict"].values()]

    first = copies.of(training.state())
    assert first["state_dict"]["0.weight"].data_ptr() == first["state_dict"]["1.weight"].data_ptr()
    assert not set(places(first)) & set(places(training.state()))
    training.step()
    assert places(copies.of(training.state())) == places(first)
    assert torch.equal(first["state_dict"]["0.weight"], training.model[0].weight)


def test_keys_that_are_written_alike_have_copies_of_their_own():
    copies = HostCopies()
    for first in (0.0, 5.0):  # the second time into memory that is there
        tensors = [torch.full((2,), first + number) for number in range(4)]
        state = {"a/b": tensors[0], "a": {"b": tensors[1]}, 1: tensors[2], "1": tensors[3]}
        assert plain(copies.of(state)) == plain(state)


def test_where_memory_cannot_be_pinned_ordinary_memory_is_taken(monkeypatch, caplog):
    def refused(tensor, pin_memory=False, **words):
        if pin_memory:
            raise RuntimeError("CUDA error: out of memory")
        return torch.zeros(2)

    monkeypatch.setattr(torch, "empty_like", refused)
    copies, on_gpu = HostCopies(), SimpleNamespace(is_cuda=True)
    for _ in range(2):
        assert copies._room_for(on_gpu).shape == (2,)
    assert caplog.text.count("not pinned, which takes longer: CUDA error: out of memory") == 1


def test_the_further_names_are_given_when_the_first_is_whole(tmp_path, gate):
    best, last = tmp_path / "best.ckpt", tmp_path / "last.ckpt"
    writer = ThreadedCheckpointIO()
    writer.save_checkpoint(Training().state(), best, [last])
    assert not best.exists() and not last.exists()
    gate.set()
    assert writer.failures() == {} and best.samefile(last)


@pytest.mark.hostile("limits")
def test_a_full_disk_is_in_the_log_at_once_and_said_when_asked_by_the_names_that_are_not_there(
    tmp_path, monkeypatch, caplog
):
    best, last = tmp_path / "best.ckpt", tmp_path / "last.ckpt"
    writer = ThreadedCheckpointIO()
    writer.save_checkpoint(Training().state(), best, [last])
    assert writer.failures() == {}
    before = best.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        writer.save_checkpoint(Training().state(), best, [last])
        writer.teardown()
        assert re.search(r"No space left.* The disk is full, or writing .*: [\d.]+ \wB are free", caplog.text)
        failures = writer.failures()
    assert list(failures) == [best, last] and "No space left" in str(failures[best])
    assert writer.failures() == {} and best.read_bytes() == before and best.samefile(last)


def test_the_first_name_is_not_missed_where_only_a_further_one_failed(tmp_path):
    (tmp_path / "last.ckpt/folder").mkdir(parents=True)
    writer = ThreadedCheckpointIO()
    writer.save_checkpoint(Training().state(), tmp_path / "best.ckpt", [tmp_path / "last.ckpt"])
    assert list(writer.failures()) == [tmp_path / "last.ckpt"]
    assert checkpoints.load(tmp_path / "best.ckpt")["global_step"] == 7


def test_what_nobody_asked_for_ends_the_next_save_and_other_errors_are_no_full_disk(tmp_path):
    (tmp_path / "file").touch()
    writer = ThreadedCheckpointIO()
    writer.save_checkpoint({}, tmp_path / "file/last.ckpt")
    with pytest.raises(OSError, match=r"file/last\.ckpt"):
        writer.save_checkpoint({}, tmp_path / "last.ckpt")
    writer.save_checkpoint({"function": lambda: None}, tmp_path / "last.ckpt")
    with pytest.raises(Exception, match="pickle"):
        writer.failures()


def test_the_end_of_a_fit_waits(tmp_path, gate):
    writer = ThreadedCheckpointIO()
    writer.save_checkpoint(Training().state(), tmp_path / "last.ckpt")
    threading.Timer(0.05, gate.set).start()
    writer.teardown()
    assert checkpoints.load(tmp_path / "last.ckpt")["global_step"] == 7


@pytest.mark.processes
def test_a_kill_while_it_is_written_leaves_the_earlier_one_and_the_next_save_clears_up(tmp_path):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(Training().state(), path)
    before = path.read_bytes()
    child = os.fork()
    if not child:
        _be_killed_while_writing(path)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 2
    writer = ThreadedCheckpointIO()
    writer.save_checkpoint(Training().state(), path)
    assert writer.failures() == {} and list(tmp_path.iterdir()) == [path]


def _be_killed_while_writing(path: Path) -> None:
    """When all is in the temporary file, and before it is on the disk and renamed."""
    os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
    ThreadedCheckpointIO().save_checkpoint({"weights": torch.zeros(1000)}, path)
    threading.Event().wait(patience.SECONDS)
    os._exit(0)

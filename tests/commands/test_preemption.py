"""Runs that are stopped by a signal, or killed, at any point and then resumed end as if nothing had happened."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import traceback

import pytest
import torch

import patience
from diptych.callbacks.stop_on_signal import SIGNALS
from diptych.parallel import checkpoint_thread
from diptych.systems.cir import CIRSystem
from tiny_runs import TINY_MODEL, TINY_ROOMS_SIZES, TINY_RUN, run_train
from tiny_sets import tiny_set

pytestmark = pytest.mark.processes

STEPS, INTERVAL = 6, 3  # validations after steps 3 and 6
SETTINGS = [
    "experiment=cir_rooms",
    *TINY_MODEL,
    *TINY_RUN,
    f"trainer.max_steps={STEPS}",
    f"trainer.val_check_interval={INTERVAL}",
    "callbacks.checkpointing.every_n_steps=1",
    "callbacks.checkpointing.monitor=val/median_rank",
    "callbacks.checkpointing.mode=max",  # it grows: each validation saves a new best
    "data.evaluation.batch_size=25",
    *TINY_ROOMS_SIZES,
]
MEASURED = ("train/samples_per_second", "train/memory_gib")  # the clock's, not the run's


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it, and nothing is saved because of it."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    tiny_set("rooms", folder / "rooms")
    return [*SETTINGS, f"data_dir={folder}"]


@pytest.fixture(autouse=True)
def command_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])


@pytest.fixture
def former():
    """An empty list; the handlers that the test sets are taken back after it."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    yield []
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def undisturbed(settings, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("undisturbed") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py"])
        run_train(run_dir, *settings)  # evaluated at the end; most others are not
    return run_dir


def outcome(run_dir, evaluated):
    """All that a run leaves, but for what was measured by the clock; without its evaluation if that was left out."""
    rows = [
        {name: value for name, value in row.items() if name not in MEASURED and value}
        for row in csv.DictReader((run_dir / "metrics.csv").open())
        if evaluated or not row.get("test/recall_at_1")
    ]
    saved = {name: torch.load(run_dir / f"checkpoints/{name}.ckpt", weights_only=True) for name in ("last", "best")}
    weights = {f"{name}/{key}": value for name, state in saved.items() for key, value in state["state_dict"].items()}
    return weights, {
        "rows": rows,
        "saved": {name: (state["global_step"], state["callbacks"]["Checkpointing"]) for name, state in saved.items()},
        "metrics": evaluated and json.loads((run_dir / "metrics.json").read_text())["metrics"],
    }


def assert_same(run_dir, other, evaluated=False):
    (one_weights, one), (two_weights, two) = outcome(run_dir, evaluated), outcome(other, evaluated)
    assert one == two
    assert one_weights.keys() == two_weights.keys()
    assert all(torch.equal(one_weights[name], two_weights[name]) for name in one_weights)


def at(patch, place, act):
    """Calls `act` once: at `("training_step", 3)` when the system's method is first called after three steps."""
    method, step = place
    original, calls = getattr(CIRSystem, method), []

    def acting(self, *args, **kwargs):
        if self.global_step == step and not calls:
            calls.append(method)
            act()
        return original(self, *args, **kwargs)

    patch.setattr(CIRSystem, method, acting)


def kill():
    raise Killed


def send(number=signal.SIGUSR1):
    """Twice: a second signal changes nothing."""
    os.kill(os.getpid(), number)
    os.kill(os.getpid(), number)


def last_step(run_dir):
    last = run_dir / "checkpoints/last.ckpt"
    return torch.load(last, weights_only=True)["global_step"] if last.exists() else 0


PLACES = {
    "a step": ("training_step", 0),
    "the step before a validation": ("training_step", INTERVAL - 1),
    "a validation": ("validation_step", INTERVAL),
    "the last step": ("training_step", STEPS - 1),
    "the last validation": ("validation_step", STEPS),
    "ranking in the last validation": ("on_validation_epoch_end", STEPS),
}
SAVED_STEP = dict(zip(PLACES, (1, 2, 2, 5, 5, 6), strict=True))  # in last.ckpt, when a signal came there


@pytest.mark.parametrize("place", ["a validation", "the last validation", "between best and last"])
def test_a_run_killed_around_a_validation_and_resumed_ends_as_if_undisturbed(place, settings, undisturbed, tmp_path):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        if place in PLACES:
            at(patch, PLACES[place], kill)
        else:
            patch.setattr(checkpoint_thread, "write_same", lambda path, source: kill())
        run_train(tmp_path, *settings)
    run_train(tmp_path, f"resume={tmp_path}", "evaluate_at_end=false")
    assert_same(tmp_path, undisturbed)


@pytest.mark.parametrize("place", [place for place in PLACES if place != "the last validation"])
def test_a_signal_ends_the_fit_at_once_and_the_resumed_run_is_exact(place, settings, undisturbed, tmp_path, former):
    def requeue(number, frame):
        former.append((number, last_step(tmp_path)))
        raise SystemExit(255)

    signal.signal(signal.SIGUSR1, requeue)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        at(patch, PLACES[place], send)
        run_train(tmp_path, *settings)
    assert signal.getsignal(signal.SIGUSR1) is requeue
    assert former == [(signal.SIGUSR1, SAVED_STEP[place])]  # once, and after the checkpoint was saved
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    validations = [row for row in rows if row.get("val/recall_at_1")]
    assert len(validations) == SAVED_STEP[place] // INTERVAL  # none was run because of the stop
    assert not any(row.get("test/recall_at_1") for row in rows)  # nor was the evaluation
    run_train(tmp_path, f"resume={tmp_path}", "evaluate_at_end=false")
    assert_same(tmp_path, undisturbed)


def test_the_evaluation_has_the_former_handlers_and_is_done_by_the_resumed_run(settings, undisturbed, tmp_path, former):
    signal.signal(signal.SIGTERM, lambda number, frame: kill())
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        at(patch, ("test_step", STEPS), lambda: send(signal.SIGTERM))
        run_train(tmp_path, *settings)
    assert not (tmp_path / "metrics.json").exists()
    run_train(tmp_path, f"resume={tmp_path}")
    assert_same(tmp_path, undisturbed, evaluated=True)
    # A run that is made longer goes on counting.
    run_train(tmp_path, f"resume={tmp_path}", f"trainer.max_steps={STEPS + 1}", "evaluate_at_end=false")
    rows = csv.DictReader((tmp_path / "metrics.csv").open())
    assert [int(row["step"]) for row in rows if row["train/loss"]] == list(range(STEPS + 1))


def test_a_validation_within_an_accumulated_step(settings, tmp_path):
    """After three batches of two steps of two: nothing can be saved there, but both steps' ends."""
    accumulated = [*settings, "trainer.max_steps=3", "trainer.accumulate_grad_batches=2", "evaluate_at_end=false"]
    run_train(tmp_path / "undisturbed", *accumulated)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        at(patch, ("training_step", 2), kill)
        run_train(tmp_path / "run", *accumulated)
    assert last_step(tmp_path / "run") == 2
    run_train(tmp_path / "run", f"resume={tmp_path / 'run'}")
    assert_same(tmp_path / "run", tmp_path / "undisturbed")


@pytest.mark.parametrize("place", ["a step", "a validation"])
def test_a_signal_to_every_process_of_the_job_leaves_the_workers_to_the_main_process(
    place, settings, undisturbed, tmp_path, former
):
    def send_to_all():
        """Not from this process itself: its workers obey that."""
        pids = [worker.pid for worker in multiprocessing.active_children()]
        assert len(pids) >= 2
        for number in SIGNALS:
            subprocess.run(["kill", f"-{int(number)}", *map(str, [*pids, os.getpid()])], check=True)

    for number in SIGNALS:
        signal.signal(number, lambda number, frame: former.append(number))
    with pytest.MonkeyPatch.context() as patch:
        at(patch, PLACES[place], send_to_all)
        run_train(tmp_path, *settings, "data.num_workers=2")
    assert former == list(SIGNALS)
    assert not multiprocessing.active_children()
    assert last_step(tmp_path) == SAVED_STEP[place]
    run_train(tmp_path, f"resume={tmp_path}", "evaluate_at_end=false", "data.num_workers=0")
    assert_same(tmp_path, undisturbed)


# ---------------------------------------------------------------------------------------------------- two processes


def two_processes(run_dir, settings, place=None):
    """The run on two ranks, forks of this process; `place` sends SIGUSR1 to the second one alone. Their exit codes."""
    words = [
        *settings,
        "trainer=ddp_cpu",
        "trainer.precision=32-true",
        "data.training.batch_size=4",
        "evaluate_at_end=false",
    ]
    if (run_dir / "config.yaml").exists():
        words = [f"resume={run_dir}"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    stamp = (run_dir / "config.yaml").stat().st_mtime_ns if (run_dir / "config.yaml").exists() else None

    def is_written():
        config = run_dir / "config.yaml"
        return config.exists() and config.stat().st_mtime_ns != stamp

    children = []
    for rank in range(2):
        if rank == 1:  # as Lightning's launcher: after the first rank has written the config
            words = [f"join_run={run_dir}", *(["resume=" + str(run_dir)] if last_step(run_dir) else [])]
            patience.wait_until(is_written, (run_dir.parent / "rank0.log").read_text)
        child = os.fork()
        if not child:
            _be_rank(rank, port, run_dir, words, place)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def _be_rank(rank, port, run_dir, words, place):
    code = 1
    try:
        log = os.open(run_dir.parent / f"rank{rank}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1), os.dup2(log, 2)
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
        for number in SIGNALS:
            signal.signal(number, lambda number, frame: os._exit(100 + number))
        if place and rank == 1:
            at(pytest.MonkeyPatch(), place, send)
        run_train(run_dir, *words)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def test_a_signal_to_one_of_two_processes_stops_both_and_the_resumed_run_is_exact(settings, tmp_path):
    folders = {name: tmp_path / name / "run" for name in ("undisturbed", "step", "validation")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    assert two_processes(folders["undisturbed"], settings) == [0, 0]
    handed_over = 100 + signal.SIGUSR1
    for name, place, saved in (("step", ("training_step", 1), 2), ("validation", ("validation_step", INTERVAL), 2)):
        assert two_processes(folders[name], settings, place) == [handed_over] * 2, name
        assert last_step(folders[name]) == saved
        assert two_processes(folders[name], settings) == [0, 0]
        assert_same(folders[name], folders["undisturbed"])

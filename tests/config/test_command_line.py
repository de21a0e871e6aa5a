"""The commands as users type them: killed and resumed, stopped, swept, on two processes, misspelt."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from diptych.storage.run_status import read_status
from tiny_runs import ROOT, TINY_MODEL, TINY_RUN, make_data

ROOMS = ["experiment=cir_rooms", *TINY_MODEL, *TINY_RUN]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working folder with tiny data, and the environment that leads there."""
    folder = tmp_path_factory.mktemp("place")
    make_data(folder / "data")
    environment = os.environ | {
        "DIPTYCH_DATA": str(folder / "data"),
        "DIPTYCH_RUNS": str(folder / "runs"),
        "OMP_NUM_THREADS": "1",
    }
    return folder, environment


SIZES = [
    f"data.sources.rooms.settings.num_{split}_hotels={number}"
    for split, number in (("train", 6), ("val", 28), ("test", 28))
]


def command(place, script, *words):
    folder, environment = place
    return subprocess.Popen(
        [sys.executable, str(ROOT / script), *words],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def run(place, script, *words, status=0):
    process = command(place, script, *words)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == status, output[-3000:]
    return output


def weights(run_dir):
    return torch.load(run_dir / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


def assert_same_weights(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def wait_for(path, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, process.stdout.read()[-3000:]
        time.sleep(0.05)


LONG = [
    *ROOMS,
    *SIZES,
    "trainer.max_steps=24",
    "trainer.val_check_interval=10",
    "evaluate_at_end=false",
    "callbacks.checkpointing.every_n_steps=4",
]


@pytest.fixture(scope="module")
def undisturbed(place):
    run(place, "train.py", *LONG, "name=undisturbed")
    return place[0] / "runs/undisturbed/latest"


def test_killed_in_the_middle_and_resumed_ends_with_the_same_weights(place, undisturbed):
    """24 triplets in batches of 8: three steps a pass, so the kill falls into the middle of one."""
    process = command(place, "train.py", *LONG, "name=killed")
    run_dir = place[0] / "runs/killed/latest"
    wait_for(run_dir / "checkpoints/last.ckpt", process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed_at = torch.load(run_dir / "checkpoints/last.ckpt", weights_only=True)["global_step"]
    assert killed_at < 24
    run(place, "train.py", f"resume={run_dir}")
    assert_same_weights(weights(run_dir), weights(undisturbed))
    assert len(list(run_dir.resolve().parent.iterdir())) == 2  # the run and `latest`: no second folder

    def losses(folder):
        rows = csv.DictReader((folder / "metrics.csv").open())
        return [(row["step"], row["train/loss"]) for row in rows if row.get("train/loss")]

    assert losses(run_dir) == losses(undisturbed)
    assert len(losses(run_dir)) == 24


def test_sigterm_saves_says_how_to_go_on_and_exits_0(place, undisturbed):
    process = command(place, "train.py", *LONG, "name=stopped", "callbacks.checkpointing.every_n_steps=1")
    run_dir = place[0] / "runs/stopped/latest"
    wait_for(run_dir / "checkpoints/last.ckpt", process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output[-3000:]
    assert f"python train.py resume={run_dir.resolve()}" in output
    run(place, "train.py", f"resume={run_dir}")
    assert_same_weights(weights(run_dir), weights(undisturbed))


def test_a_sweep_on_two_processes_a_run_leaves_a_folder_per_run_and_a_table(place):
    words = ["system.optimizer.lr=1e-3,3e-4", "trainer=ddp_cpu", "trainer.devices=2"]
    output = run(place, "train.py", "-m", *ROOMS, *SIZES, *words)
    (sweep,) = (place[0] / "runs/sweeps").iterdir()
    rows = list(csv.DictReader((sweep / "sweep.csv").open()))
    assert [row["run"] for row in rows] == ["0", "1"]
    assert [row["state"] for row in rows] == ["done", "done"]
    assert "system.optimizer.lr=0.0003" in rows[1]["overrides"] or "system.optimizer.lr=3e-4" in rows[1]["overrides"]
    results = [json.loads((sweep / f"{number}/metrics.json").read_text()) for number in (0, 1)]
    assert [result["world_size"] for result in results] == [2, 2]
    folders = {path.name for path in sweep.iterdir() if path.is_dir() and not path.is_symlink()}
    assert folders == {"0", "1"}  # the other ranks have made none of their own
    assert "recall_at_1" in output


def test_a_sweep_killed_in_the_middle_and_gone_on_with_ends_as_an_undisturbed_one(place, undisturbed):
    sweep = place[0] / "killed_sweep"
    words = ["seed=0,1,2", "cluster=parallel", "callbacks.checkpointing.every_n_steps=1", f"hydra.sweep.dir={sweep}"]
    process = command(place, "train.py", "-m", *LONG, "name=cir_rooms", *words)
    wait_for(sweep / "0/checkpoints/last.ckpt", process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    output = run(place, "train.py", "-m", f"sweep.resume={sweep}")
    assert_same_weights(weights(sweep / "0"), weights(undisturbed))
    statuses = [read_status(sweep / str(number)) for number in range(3)]
    assert [status.state for status in statuses] == ["done"] * 3
    assert statuses[0].starts == 2 and statuses[2].starts == 1
    rows = list(csv.DictReader((sweep / "sweep.csv").open()))
    assert [row["state"] for row in rows] == ["done, without metrics"] * 3
    assert f"run 0: done at step {statuses[0].step}" in output
    again = run(place, "train.py", "-m", f"sweep.resume={sweep}")
    assert again.count("is done already") == 3


def test_two_processes_train_and_score_as_one(place):
    two = ["trainer=ddp_cpu", "trainer.devices=2", "trainer.precision=32-true"]
    run(
        place,
        "train.py",
        *ROOMS,
        *SIZES,
        "name=two",
        "data.batch_size=4",
        *two,
        "system.micro_batch_size=2",
        "evaluate_at_end=false",
    )
    run(place, "train.py", *ROOMS, *SIZES, "name=one", "evaluate_at_end=false")
    two_runs, one_run = (place[0] / "runs" / name / "latest" for name in ("two", "one"))
    # Not the weights: Adam turns the rounding of a vanishing gradient into a full step. The first step's averaged
    # gradient is compared; that all gradients are equal is tested in test_distributed.
    norms = [
        float(next(csv.DictReader((run_dir / "metrics.csv").open()))["train/gradient_norm"])
        for run_dir in (two_runs, one_run)
    ]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    assert len([path for path in two_runs.resolve().parent.iterdir() if not path.is_symlink()]) == 1
    # 84 queries in batches of 25: an uneven number for two processes.
    common = [
        f"ckpt={two_runs}",
        "data.evaluation_batch_size=25",
        "trainer.precision=32-true",
        "trainer.enable_progress_bar=false",
    ]
    results = []
    for number, words in enumerate((["trainer=cpu"], ["trainer=ddp_cpu", "trainer.devices=2"])):
        folder = place[0] / f"scored{number}"
        run(place, "evaluate.py", *common, *words, f"hydra.run.dir={folder}")
        results.append(json.loads((folder / "metrics.json").read_text()))
    assert [result.pop("world_size") for result in results] == [1, 2]
    assert results[0]["metrics"] == results[1]["metrics"]
    assert results[0]["intervals"] == results[1]["intervals"]
    predictions = [(place[0] / f"scored{number}/predictions.jsonl").read_bytes() for number in (0, 1)]
    assert predictions[0] == predictions[1]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["experiment=cir_rooms", "system.optimizer.lrr=1"],
            ["unknown key 'system.optimizer.lrr'", "'system.optimizer.lr'"],
        ),
        (["experiment=cir_room"], ["cir_room", "cir_rooms", "cir_hotel"]),
        ([], ["name", "experiment=cir_rooms"]),
    ],
)
def test_mistakes_end_in_one_message(place, words, expected):
    output = run(place, "train.py", *words, status=1)
    assert "Traceback" not in output
    assert "error: " in output
    for word in expected:
        assert word in output

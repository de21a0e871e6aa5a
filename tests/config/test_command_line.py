"""The commands as users type them: killed and resumed, stopped, swept, on two processes, misspelt."""

import csv
import json
import signal

import pytest
import torch

from diptych.storage.run_status import read_status
from tiny_runs import TINY_MODEL, TINY_ROOMS_SIZES, TINY_RUN
from tiny_sets import make_data
from working_folder import WorkingFolder

pytestmark = pytest.mark.processes

ROOMS = ["experiment=cir_rooms", *TINY_MODEL, *TINY_RUN]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working folder with tiny data."""
    folder = tmp_path_factory.mktemp("place")
    make_data(folder / "data")
    return WorkingFolder(folder)


def weights(run_dir):
    return torch.load(run_dir / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


def assert_same_weights(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


LONG = [
    *ROOMS,
    *TINY_ROOMS_SIZES,
    "trainer.max_steps=24",
    "trainer.val_check_interval=10",
    "evaluate_at_end=false",
    "callbacks.checkpointing.every_n_steps=4",
]


@pytest.fixture(scope="module")
def undisturbed(place):
    place.run("train.py", *LONG, "name=undisturbed")
    return place.folder / "runs/undisturbed/latest"


def test_killed_in_the_middle_and_resumed_ends_with_the_same_weights(place, undisturbed):
    """24 triplets in batches of 8: three steps a pass, so the kill falls into the middle of one."""
    run_dir = place.folder / "runs/killed/latest"
    checkpoint = run_dir / "checkpoints/last.ckpt"
    place.interrupt(signal.SIGKILL, checkpoint.exists, run_dir.parent, "train.py", *LONG, "name=killed")
    assert torch.load(checkpoint, weights_only=True)["global_step"] < 24
    place.run("train.py", f"resume={run_dir}")
    assert_same_weights(weights(run_dir), weights(undisturbed))
    assert len(list(run_dir.resolve().parent.iterdir())) == 2  # the run and `latest`: no second folder

    def losses(folder):
        rows = csv.DictReader((folder / "metrics.csv").open())
        return [(row["step"], row["train/loss"]) for row in rows if row.get("train/loss")]

    assert losses(run_dir) == losses(undisturbed)
    assert len(losses(run_dir)) == 24


def test_sigterm_saves_says_how_to_go_on_and_exits_0(place, undisturbed):
    words = [*LONG, "name=stopped", "callbacks.checkpointing.every_n_steps=1"]
    run_dir = place.folder / "runs/stopped/latest"
    saved = (run_dir / "checkpoints/last.ckpt").exists
    output = place.interrupt(signal.SIGTERM, saved, run_dir.parent, "train.py", *words).ends()
    assert f"python train.py resume={run_dir.resolve()}" in output
    place.run("train.py", f"resume={run_dir}")
    assert_same_weights(weights(run_dir), weights(undisturbed))


def test_a_sweep_on_two_processes_a_run_leaves_a_folder_per_run_and_a_table(place):
    words = ["system.optimizer.lr=1e-3,3e-4", "trainer=ddp_cpu", "trainer.devices=2"]
    output = place.run("train.py", "-m", *ROOMS, *TINY_ROOMS_SIZES, *words)
    (sweep,) = (place.folder / "runs/sweeps").iterdir()
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
    sweep = place.folder / "killed_sweep"
    words = ["seed=0,1,2", "cluster=parallel", "callbacks.checkpointing.every_n_steps=1", f"hydra.sweep.dir={sweep}"]
    saved = (sweep / "0/checkpoints/last.ckpt").exists
    place.interrupt(signal.SIGKILL, saved, sweep, "train.py", "-m", *LONG, "name=cir_rooms", *words)
    output = place.run("train.py", "-m", f"sweep.resume={sweep}")
    assert_same_weights(weights(sweep / "0"), weights(undisturbed))
    statuses = [read_status(sweep / str(number)) for number in range(3)]
    assert [status.state for status in statuses] == ["done"] * 3
    assert statuses[0].starts == 2 and statuses[2].starts == 1
    rows = list(csv.DictReader((sweep / "sweep.csv").open()))
    assert [row["state"] for row in rows] == ["done, without metrics"] * 3
    assert f"run 0: done at step {statuses[0].step}" in output
    again = place.run("train.py", "-m", f"sweep.resume={sweep}")
    assert again.count("is done already") == 3


def test_two_processes_train_and_score_as_one(place):
    two = ["trainer=ddp_cpu", "trainer.devices=2", "trainer.precision=32-true"]
    place.run(
        "train.py",
        *ROOMS,
        *TINY_ROOMS_SIZES,
        "name=two",
        "data.training.batch_size=4",
        *two,
        "system.micro_batch_size=2",
        "data.evaluation.batch_size=25",  # 84 queries: an uneven number of batches for two processes
        real_children=True,  # each rank with its own hashes of words
    )
    place.run("train.py", *ROOMS, *TINY_ROOMS_SIZES, "name=one", "evaluate_at_end=false")
    two_runs, one_run = (place.folder / "runs" / name / "latest" for name in ("two", "one"))
    # Not the weights: Adam turns the rounding of a vanishing gradient into a full step. The first step's averaged
    # gradient is compared; that all gradients are equal is tested in test_distributed.
    norms = [
        float(next(csv.DictReader((run_dir / "metrics.csv").open()))["train/gradient_norm"])
        for run_dir in (two_runs, one_run)
    ]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    assert len([path for path in two_runs.resolve().parent.iterdir() if not path.is_symlink()]) == 1
    common = [f"ckpt={two_runs}", "split=val", "trainer.precision=32-true", "trainer.enable_progress_bar=false"]
    scored = [place.folder / "scored0", place.folder / "scored1", two_runs]  # the run has scored its best checkpoint
    for folder, words in zip(scored, (["trainer=cpu"], ["trainer=ddp_cpu", "trainer.devices=2"]), strict=False):
        place.run("evaluate.py", *common, *words, f"hydra.run.dir={folder}")
    results = [json.loads((folder / "metrics.json").read_text()) for folder in scored]
    assert [result["world_size"] for result in results] == [1, 2, 2]
    for name in ("metrics", "intervals"):
        assert results[0][name] == results[1][name] == results[2][name]
    predictions = [(folder / "predictions.jsonl").read_bytes() for folder in scored]
    assert predictions[0] == predictions[1] == predictions[2]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["experiment=cir_rooms", "system.optimizer.lrr=1"],
            ["unknown key 'system.optimizer.lrr'", "'system.optimizer.lr'"],
        ),
        (["experiment=cir_room"], ["there is no experiment=cir_room", "cir_rooms"]),
        ([], ["name", "experiment=cir_rooms"]),
    ],
)
def test_mistakes_end_in_one_message(place, words, expected):
    output = place.run("train.py", *words, status=1)
    assert "Traceback" not in output
    assert "error: " in output
    for word in expected:
        assert word in output

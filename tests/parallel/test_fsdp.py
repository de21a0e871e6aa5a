"""Training sharded over two processes: as DDP, killed anywhere and resumed, and evaluated from its pieces."""

from __future__ import annotations

import csv
import json
from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor

from diptych.losses.info_nce import InfoNCE
from diptych.models.composers.cross_attention_composer import CrossAttentionComposer
from diptych.parallel import checkpoints, sharded_checkpoints
from diptych.parallel.sharding import ShardedStrategy, check_shardable
from diptych.systems.cir import CIRSystem
from sharded_runs import DEATHS, train_on_two
from tiny_runs import TINY_MODEL, TINY_ROOMS_SIZES, TINY_RUN, run_evaluate
from tiny_sets import tiny_set
from working_folder import WorkingFolder

pytestmark = pytest.mark.processes

# 168 queries in batches of 25: seven, an uneven number for two processes.
RUN = [
    "experiment=cir_rooms",
    *TINY_MODEL,
    *TINY_RUN,
    *TINY_ROOMS_SIZES,
    "data.training.batch_size=4",
    "data.evaluation.batch_size=25",
    "trainer.max_steps=6",
    "trainer.val_check_interval=3",
    "callbacks.checkpointing.every_n_steps=2",
    "evaluate_at_end=false",
]
ADAMW = ["system/optimizer=adamw", "~system.optimizer.adamw_lr", "system.optimizer.lr=1e-3"]
DDP, FSDP = (
    [f"trainer={name}", "trainer.precision=32-true", "trainer.enable_progress_bar=false"]
    for name in ("ddp_cpu", "fsdp_cpu")
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    tiny_set("rooms", folder / "data/rooms")
    return folder


@pytest.fixture(scope="module")
def runs(place):
    """A run's folder by its settings; each is trained once."""
    done = {}

    def run(name, *words):
        if name not in done:
            done[name] = place / "runs" / name
            train_on_two(done[name], *RUN, f"data_dir={place / 'data'}", f"name={name}", *words)
        return done[name]

    return run


def last(run_dir):
    return checkpoints.load(run_dir / "checkpoints/last.ckpt")


def assert_same(one, other, **tolerance):
    """Nested dicts, lists and tuples of equal structure and, with a tolerance, nearly equal tensors."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key], **tolerance)
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_same(*pair, **tolerance)
    elif isinstance(one, torch.Tensor):
        torch.testing.assert_close(one, other, **(tolerance or {"rtol": 0, "atol": 0}))
    else:
        assert one == other


def logged(run_dir, *names):
    """(step, value) of every row that has the metric, by metric."""
    rows = list(csv.DictReader((run_dir / "metrics.csv").open()))
    return {name: [(int(row["step"]), float(row[name])) for row in rows if row.get(name)] for name in names}


def assert_trained_alike(one, other):
    """Two runs' weights, optimizer states and metrics, to the rounding of sums."""
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "loops", "global_step"):
        assert_same(last(one)[part], last(other)[part], rtol=1e-4, atol=1e-5)
    names = ("train/loss", "train/gradient_norm", "val/recall_at_5", "val/recall_at_1")
    curves, expected = logged(one, *names), logged(other, *names)
    assert [len(curve) for curve in curves.values()] == [6, 6, 2, 2]
    for name in names:
        assert curves[name] == [(step, pytest.approx(value, rel=1e-4)) for step, value in expected[name]]


# ------------------------------------------------------------------------------------------- as DDP


def test_two_sharded_processes_train_as_two_whole_ones(runs):
    sharded, whole = runs("fsdp", *FSDP, *ADAMW), runs("ddp", *DDP, *ADAMW)
    assert_trained_alike(sharded, whole)
    # Consolidated: the format is everybody's, and no shards are left.
    assert sorted(path.name for path in (sharded / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    assert torch.load(sharded / "checkpoints/last.ckpt", weights_only=True).keys() == last(whole).keys()


def test_micro_batches_give_the_same_first_gradient(runs):
    """Only the first: Adam turns the rounding of a vanishing gradient into a full step."""
    names = ("train/loss", "train/gradient_norm")
    whole = logged(runs("fsdp", *FSDP, *ADAMW), *names)
    pieces = logged(runs("micro", *FSDP, *ADAMW, "system.micro_batch_size=2"), *names)
    for name in names:
        assert pieces[name][0] == (0, pytest.approx(whole[name][0][1], rel=1e-4))
        assert len(pieces[name]) == 6


def test_in_bfloat16_the_first_steps_are_those_of_whole_processes(runs):
    """Weights that are gathered in bfloat16 are rounded as autocast rounds them; later steps differ as roundings do."""
    names, words = ("train/loss", "train/gradient_norm"), (*ADAMW, "trainer.precision=bf16-mixed")
    sharded, whole = (
        logged(runs(name, *kind, *words), *names, "val/recall_at_5")
        for name, kind in (("fsdp_bf16", FSDP), ("ddp_bf16", DDP))
    )
    for name in names:
        assert sharded[name][0] == (0, pytest.approx(whole[name][0][1], rel=1e-3))
        assert sharded[name] == [(step, pytest.approx(value, rel=5e-2)) for step, value in whole[name]]
    assert len(sharded["val/recall_at_5"]) == 2


def test_clipped_gradients_are_those_of_whole_processes(runs):
    clip = ["trainer.gradient_clip_val=0.5", "trainer.accumulate_grad_batches=2", "trainer.val_check_interval=6"]
    sharded, whole = runs("clip", *FSDP, *ADAMW, *clip), runs("clip_ddp", *DDP, *ADAMW, *clip)
    assert_trained_alike(sharded, whole)


def test_muon_moves_the_same_way(runs):
    """Its orthogonalisation computes in bfloat16, in another order when sharded: two digits are equal."""
    sharded, whole = (logged(runs(name, *words), "train/loss") for name, words in (("muon", FSDP), ("muon_ddp", DDP)))
    assert sharded["train/loss"] == [(step, pytest.approx(loss, rel=1e-2)) for step, loss in whole["train/loss"]]


# ------------------------------------------------------------------------------------------- killed


@pytest.fixture(scope="module", params=DEATHS)
def killed(request, place):
    run_dir = place / "runs" / request.param
    words = [*RUN, f"data_dir={place / 'data'}", "name=killed", *FSDP, *ADAMW]
    train_on_two(run_dir, *words, death=request.param)
    return request.param, run_dir


def test_killed_while_saving_it_is_evaluated_and_resumed_exactly(killed, runs, place, tmp_path):
    """The third saving is the second of `last`, after the validation at step 3."""
    death, run_dir = killed
    assert sharded_checkpoints.is_sharded(run_dir / "checkpoints/last.ckpt")
    assert last(run_dir)["global_step"] == {"shards_written": 2, "link_moved": 3}[death]
    if death == "link_moved":
        words = [f"ckpt={run_dir}/checkpoints/last.ckpt", "split=val", "trainer=cpu", "trainer.precision=32-true"]
        words += [f"data_dir={place / 'data'}", "trainer.enable_progress_bar=false"]
        record = run_evaluate(tmp_path / "evaluated", *words)
        ((_, recall),) = logged(run_dir, "val/recall_at_5")["val/recall_at_5"]
        assert record["metrics"]["recall_at_5"] == pytest.approx(recall)
    train_on_two(run_dir, resume=True)
    undisturbed = runs("fsdp", *FSDP, *ADAMW)
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
        assert_same(last(run_dir)[part], last(undisturbed)[part])
    assert sorted(path.name for path in (run_dir / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]


def test_a_finished_run_is_resumed_to_be_evaluated(runs):
    """There is no step left, so no forward pass has set the shards up before the evaluation."""
    run_dir = runs("fsdp", *FSDP, *ADAMW)
    train_on_two(run_dir, "evaluate_at_end=true", resume=True)
    record = json.loads((run_dir / "metrics.json").read_text())
    assert record["world_size"] == 2
    best = max(value for _, value in logged(run_dir, "val/recall_at_1")["val/recall_at_1"])
    assert record["metrics"]["recall_at_1"] == pytest.approx(best)


# ------------------------------------------------------------------------------------------- as users type it


def test_train_and_evaluate_from_the_command_line(place):
    words = [*RUN, f"data_dir={place / 'data'}", *FSDP, *ADAMW, "trainer.max_steps=3", "evaluate_at_end=true"]
    WorkingFolder(place / "typed").run("train.py", *words)
    run_dir = place / "typed/runs/cir_rooms/latest"
    record = run_evaluate(
        place / "scored",
        f"ckpt={run_dir}",
        f"data_dir={place / 'data'}",
        "split=val",
        "trainer=cpu",
        "trainer.precision=32-true",
        "trainer.enable_progress_bar=false",
    )
    at_end = json.loads((run_dir / "metrics.json").read_text())
    assert (at_end["world_size"], record["world_size"]) == (2, 1)
    assert record["metrics"] == pytest.approx(at_end["metrics"])


# ------------------------------------------------------------------------------------------- compiled


@pytest.fixture
def group_of_one():
    dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    yield
    dist.destroy_process_group()


def test_compiled_layers_are_sharded(tiny_backbone, tiny_batch, group_of_one, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=lambda graph, _: compiled.append(1) or graph))
    torch._dynamo.reset()
    gradients = []
    for sharded in (False, True):
        model = CrossAttentionComposer(tiny_backbone(), num_layers=1, num_heads=2)
        torch.nn.init.ones_(model.projection.weight)
        system = CIRSystem(model, InfoNCE(), {}, torch.optim.AdamW, compile=sharded)
        if sharded:
            system.shard(torch.device("cpu"), bf16=False)
        batch = tiny_batch(8)
        system.loss(system.model(batch), batch)["loss"].backward()
        found = {name: p.grad for name, p in system.named_parameters() if p.grad is not None}
        gradients.append({name: g.full_tensor() if isinstance(g, DTensor) else g for name, g in found.items()})
    assert len(compiled) >= 3  # an image layer, a text layer, a layer of the composer
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------------------------------------- refused


def trainer(precision="32-true"):
    return SimpleNamespace(strategy=ShardedStrategy(), precision=precision)


class Shardable(nn.Module):
    def shard(self, device, bf16):
        raise AssertionError("not before the check")


def test_what_can_be_sharded_passes():
    for precision in ("32-true", "bf16-mixed"):
        check_shardable(trainer(precision), Shardable())
    check_shardable(SimpleNamespace(strategy=None, precision="16-mixed"), nn.Linear(1, 1))


def test_what_cannot_be_sharded_is_refused():
    with pytest.raises(ValueError, match="trainer=fsdp cannot shard a Linear: use trainer=ddp"):
        check_shardable(trainer(), nn.Linear(1, 1))
    with pytest.raises(ValueError, match=r"trainer\.precision=16-mixed is not supported.*32-true or bf16-mixed"):
        check_shardable(trainer("16-mixed"), Shardable())

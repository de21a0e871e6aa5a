"""`python -m diptych.shards`, and training on what it wrote: the weights of the plain form in the same order."""

from __future__ import annotations

import pytest
import torch

from diptych.commands.main import run
from diptych.contracts.models import ImageSpec
from diptych.data.triplets.sampling import MixingSampler
from diptych.data.triplets.sharded_triplets import ShardedTriplets, ShardOrder
from diptych.data.triplets.shards import ShardFolder
from diptych.photos.images import ImageReader
from tiny_runs import TINY_MODEL, TINY_ROOMS_SIZES, TINY_RUN, run_train
from tiny_sets import tiny_set

pytestmark = pytest.mark.slow

STEPS = 4
AUXILIARY = "_target_:diptych.losses.info_nce.InfoNCE,distractor_negatives:true"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    tiny_set("rooms", folder / "rooms")
    return folder


def test_the_command_writes_goes_on_and_refuses(data, tmp_path, capsys):
    words = [
        "data=rooms",
        f"data_dir={data}",
        *TINY_ROOMS_SIZES,
        f"output={tmp_path / 'out'}",
        "per_shard=5",
        "workers=1",
    ]
    assert run("shards", words) == 0
    assert "24 triplets in 5 shards" in capsys.readouterr().out
    folder = ShardFolder(tmp_path / "out")
    assert [shard.triplets for shard in folder.shards] == [4, 5, 5, 5, 5]
    assert folder.settings["sources"] == ["rooms"] and not folder.settings["exploded"]
    assert run("shards", words) == 0
    for extra, message in (
        ("data.training.group_size=4", "holds another conversion (group_size 1 there, 4 asked for)"),
        ("data.training.caption_policy=explode", "exploded False there, True"),
        ("data.training.caption_policy=rondom", "data.training.caption_policy='rondom' is not one of"),
        ("data.training.weights={rooms: 1.0}", "data.training.weights must be null"),
        ("system.loss.distractor_negatives=true", "distractors False there, True"),
        (f"+system.auxiliary_losses.far={{{AUXILIARY}}}", "distractors False there, True"),
        ("data.training.group_sise=4", "group_sise"),
        ("per_shard=6", "per_shard is set twice"),
    ):
        assert run("shards", [*words, extra]) == 2
        assert message in capsys.readouterr().err
    assert run("shards", ["data=newsroom", f"output={tmp_path / 'news'}"]) == 2
    assert "shards hold triplets" in capsys.readouterr().err
    other = ["data/training=shards", "data.training.shards=x"]
    assert run("shards", [*words, *other]) == 2
    assert "shards are written from files: choose data/training=files, not shards" in capsys.readouterr().err
    for missing, message in (("data=", "say which triplets"), ("output=", "output=... is missing; usage: ")):
        assert run("shards", [word for word in words if not word.startswith(missing)]) == 2
        assert message in capsys.readouterr().err
    for number in ("many", "0"):
        fewer = [word for word in words if not word.startswith("per_shard")]
        assert run("shards", [*fewer, f"per_shard={number}"]) == 2
        assert f"per_shard={number}" in capsys.readouterr().err


def test_training_on_shards_gives_the_weights_of_the_plain_form_in_the_same_order(data, tmp_path, monkeypatch):
    """With the experiment's augmentation, dropout and look-alikes in groups of four; validated in between."""
    experiment = ["experiment=cir_rooms", f"data_dir={data}", *TINY_ROOMS_SIZES]
    assert run("shards", [*experiment, f"output={tmp_path / 'shards'}", "per_shard=4", "workers=1"]) == 0
    words = [*experiment, *TINY_MODEL, *TINY_RUN, f"trainer.max_steps={STEPS}", "trainer.val_check_interval=2"]
    settings = [
        "data/training=shards",
        f"data.training.shards={tmp_path / 'shards'}",
        "data.training.shard_streams=2",
        "data.training.shuffle_block=4",
    ]
    run_train(tmp_path / "runs/sharded", *words, *settings, "evaluate_at_end=false")

    shards = ShardFolder(tmp_path / "shards")
    order = ShardOrder([shard.triplets for shard in shards.shards], 8, seed=0, streams=2, shuffle_block=4)
    dataset = ShardedTriplets(shards, order, ImageReader(ImageSpec(32, (0, 0, 0), (1, 1, 1))))
    rows = [(stored.example, draw) for batch in range(STEPS) for stored, draw in dataset.stored(batch)]
    monkeypatch.setattr(MixingSampler, "__iter__", lambda self: iter(rows))
    run_train(tmp_path / "runs/plain", *words, "evaluate_at_end=false")
    monkeypatch.undo()
    run_train(tmp_path / "runs/other_order", *words, "evaluate_at_end=false")

    sharded, plain, other = (
        torch.load(tmp_path / f"runs/{name}/checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("sharded", "plain", "other_order")
    )
    assert sharded.keys() == plain.keys()
    assert all(torch.equal(sharded[name], plain[name]) for name in plain)
    assert not all(torch.equal(sharded[name], other[name]) for name in plain)

"""The whole loop on a tiny set, a server on this machine annotating; killed once."""

import csv
import json
import signal

import pytest

from diptych.annotation.ledger.ledger import Ledger
from diptych.config.override_words import override
from diptych.data.pairs.image_pairs import read_pairs
from diptych.data.triplets.triplet_jsonl import TripletJSONL
from tiny_sets import TINY, tiny_set
from working_folder import WorkingFolder

pytestmark = [pytest.mark.processes, pytest.mark.slow]

NUMBERS = ", ".join(f"num_{split}_hotels: {TINY.num_groups(split)}" for split in ("train", "val", "test"))
SIZES = f"{{settings: {{{NUMBERS}}}}}"
EXPERIMENT = f"""\
# @package _global_
defaults:
  - override /data: rooms
  - override /system/model/backbone: rooms_small
  - override /trainer: cpu
name: tiny
data:
  num_workers: 0
  training: {{batch_size: 8, group_size: 2}}
  sources: {{rooms: {SIZES}}}
system:
  model:
    num_layers: 1
    num_heads: 2
    backbone:
      architecture:
        embed_dim: 16
        vision_cfg: {{image_size: 32, patch_size: 16, width: 32, layers: 1, head_width: 16}}
        text_cfg: {{context_length: 77, vocab_size: 49408, width: 16, heads: 2, layers: 1}}
trainer: {{precision: 32-true, log_every_n_steps: 1, enable_progress_bar: false}}
"""


def test_a_round_of_recycling_from_pairs_to_its_price(tmp_path):
    tiny_set("rooms", tmp_path / "data" / "rooms")
    for name, text in {
        "experiment/tiny": EXPERIMENT,
        "data/tiny_rooms": f"defaults: [rooms@_here_, _self_]\nsources: {{rooms: {SIZES}}}\n",
    }.items():
        (tmp_path / "conf" / name).with_suffix(".yaml").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / name).with_suffix(".yaml").write_text(text)
    place, out = WorkingFolder(tmp_path), tmp_path / "loop"
    words = ["diptych", "recycle", "rounds=1", "seeds=[0]", "size.pairs=11", "size.steps=2", "untrue=0.3"]
    words += ["experiment=tiny", "data=tiny_rooms", "--config-dir=conf", override("out", out)]
    steps = out / "steps"
    place.interrupt(signal.SIGKILL, lambda: (steps / "recycled_1_0_mined/pairs.jsonl").is_file(), out, *words)
    asked = Ledger(steps / "start_0_annotated/ledger.sqlite").usage("describe_reference")
    output = place.run(*words)
    assert "recycled_1 against random_1: recall_at_1" in output and "usd_per_point" in output
    assert Ledger(steps / "start_0_annotated/ledger.sqlite").usage("describe_reference") == asked

    with (out / "rounds.csv").open() as file:
        rows = {row["arm"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["start", "recycled_1", "random_1"]
    first, more = (TripletJSONL(steps / name).triplets("train") for name in ("start_0_set", "recycled_1_0_set"))
    assert more[: len(first)] == first and len(first) < len(more) <= len(first) + 11
    assert float(rows["start"]["annotated"]) == len(first) and float(rows["start"]["cost_usd"]) > 0
    assert 0 < float(rows["recycled_1"]["claims_hallucinated"]) < 1
    mined = read_pairs(steps / "recycled_1_0_mined/pairs.jsonl").pairs
    counts = json.loads((steps / "recycled_1_0_mined/mine_failures/failures.json").read_text())
    assert counts["queries"] == len(first) and len(mined) == counts["pairs"] <= 11
    # References of the first round are not described, nor paid, again.
    with Ledger(steps / "recycled_1_0_annotated/ledger.sqlite") as ledger:
        assert ledger.usage("describe_reference")["requests"] < len({pair.reference_image for pair in mined})

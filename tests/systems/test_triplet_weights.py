"""Which triplets are doubted, what that changes in the next batch, and that a run goes on as if never stopped."""

from __future__ import annotations

import io
import json
import sys

import pytest
import torch

from diptych.contracts.models import TextTokens
from diptych.contracts.retrieval import TripletBatch
from diptych.parallel import checkpoints
from diptych.storage.json_files import read_json_lines
from diptych.systems.triplet_weights import FILE, TripletWeights
from tiny_runs import TINY_MODEL, TINY_ROOMS_SIZES, TINY_RUN, run_train

TRIPLETS, SIZE = 40, 10
UNTRUE = {f"q{number}" for number in range(0, TRIPLETS, 5)}


def batch(step: int) -> TripletBatch:
    """Ten of forty triplets in turn; every other pass says `q1` in other words."""
    ids = tuple(f"q{(step * SIZE + place) * 7 % TRIPLETS}" for place in range(SIZE))
    nothing = torch.empty(0)
    texts = tuple("again" if one == "q1" and step // 4 % 2 else "a text" for one in ids)
    return TripletBatch(ids, nothing, nothing, TextTokens(nothing, nothing), nothing, nothing, texts=texts)


def seen_of(of: TripletBatch, step: int) -> torch.Tensor:
    """Loss and margin as a model finds them that learns: untrue ones stand out, and all fall from step to step."""
    noise = torch.rand(SIZE, 2, generator=torch.Generator().manual_seed(step))
    untrue = torch.tensor([[one in UNTRUE] for one in of.query_ids])
    return (noise + untrue * torch.tensor([1.0, -0.6]) + torch.tensor([0.2, 0.4])) / torch.tensor([1.0 + step, 2.0])


def trained(weights: TripletWeights, first: int, last: int) -> list[list[float]]:
    """The weights of each step's batch."""
    found = []
    for step in range(first, last):
        weighed = weights.weighed(batch(step))
        found.append(weighed.weights.tolist())
        weights.note(weighed, seen_of(weighed, step))
    return found


def test_untrue_texts_are_doubted_after_the_warm_up_and_the_first_interval(tmp_path):
    weights = TripletWeights(warm_up=4, every=12)
    found = trained(weights, 0, 20)
    assert found[:16] == [[1.0] * SIZE] * 16
    for step in range(16, 20):
        for query_id, weight in zip(batch(step).query_ids, found[step], strict=True):
            assert (weight < 0.5) == (query_id in UNTRUE), (step, query_id, weight)
    weights.write(tmp_path)
    lines = read_json_lines(tmp_path / FILE)
    assert {line["query_id"] for line in lines[: len(UNTRUE)]} == UNTRUE
    assert sum(line["draws"] for line in lines) == 16 * SIZE and len(lines) == TRIPLETS + 1  # q1 in both wordings
    assert lines == sorted(lines, key=lambda line: line["weight"])
    assert sum(line["draws"] * line["loss"] for line in lines) == pytest.approx(0, abs=1e-9)


def test_nothing_is_written_before_the_warm_up_is_over(tmp_path):
    weights = TripletWeights(warm_up=4, every=12)
    trained(weights, 0, 4)
    weights.write(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stopped", [2, 8, 16, 18, 28])
def test_saved_and_gone_on_with_the_weights_are_those_of_a_run_that_was_never_stopped(stopped):
    whole = trained(TripletWeights(warm_up=4, every=12), 0, 32)
    weights = TripletWeights(warm_up=4, every=12)
    before = trained(weights, 0, stopped)
    file = io.BytesIO()
    torch.save(weights.state_dict(), file)
    assert before + trained(weights, stopped, 32) == whole  # to be saved changes nothing
    file.seek(0)
    again = TripletWeights(warm_up=4, every=12)
    again.load_state_dict(torch.load(file, weights_only=True))
    assert before + trained(again, stopped, 32) == whole
    assert torch.equal(again.state_dict()["totals"], weights.state_dict()["totals"])


@pytest.mark.parametrize("settings", [{"warm_up": -1}, {"every": 0}])
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(ValueError, match="must be 0 batches or more, and every=.* 1 or more"):
        TripletWeights(**settings)


@pytest.mark.slow
def test_a_training_that_was_stopped_ends_with_the_same_weights(tmp_path, monkeypatch):
    """Weights of triplets and of the model; in micro-batches, with groups, and fitted on both sides of the stop."""
    monkeypatch.setattr(sys, "argv", ["train.py"])
    words = ["experiment=cir_rooms", f"data_dir={tmp_path}", *TINY_MODEL, *TINY_ROOMS_SIZES, *TINY_RUN]
    words += ["system/noise=mixture", "system.noise.warm_up=1", "system.noise.every=2", "data.corruption.untrue=0.25"]
    words += ["system.micro_batch_size=3", "system.scheduler.total_steps=6", "evaluate_at_end=false"]
    whole, stopped = tmp_path / "run/whole", tmp_path / "run/stopped"
    run_train(whole, *words, "trainer.max_steps=6")
    run_train(stopped, *words, "trainer.max_steps=4")
    run_train(stopped, f"resume={stopped}", "trainer.max_steps=6")
    assert (stopped / FILE).read_bytes() == (whole / FILE).read_bytes()
    first, second = (checkpoints.load(run / "checkpoints/last.ckpt") for run in (whole, stopped))
    assert first["triplet_weights"]["weights"].min() < 0.9
    assert all(torch.equal(first["state_dict"][name], value) for name, value in second["state_dict"].items())
    lines = read_json_lines(whole / FILE)
    untrue = {(one["query_id"], one["text"]) for one in map(json.loads, (whole / "untruths.jsonl").open())}
    assert untrue & {(line["query_id"], line["text"]) for line in lines}
    assert "train/mean_weight" in (whole / "metrics.csv").read_text().partition("\n")[0]

"""Samples of an earlier evaluation are chosen from again, without a model that writes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from diptych.systems.sampled_candidates import take_candidates
from toy_language_model import GREEDY, SAMPLED, ToyLanguageModel, run


class Silent(ToyLanguageModel):
    def forward(self, *arguments, **keywords):
        raise AssertionError("nothing is written again")


def test_another_choice_is_as_if_sampled_for_it(tmp_path):
    sampled, other = tmp_path / "sampled.jsonl", replace(SAMPLED, num_candidates=2)
    eight = run(ToyLanguageModel(), sampled, replace(SAMPLED, num_candidates=8))
    take_candidates(sampled, tmp_path / "new/predictions.jsonl", other)
    found = run(Silent(), tmp_path / "new/predictions.jsonl", other)
    assert found == run(ToyLanguageModel(), tmp_path / "alone.jsonl", other)
    assert [len(record["candidates"]) for record in found] == [2] * len(eight)
    before = (tmp_path / "new/predictions.jsonl").read_bytes()
    take_candidates(sampled, tmp_path / "new/predictions.jsonl", replace(other, num_candidates=3))
    assert (tmp_path / "new/predictions.jsonl").read_bytes() == before  # what is there is gone on with


def test_what_cannot_be_chosen_from_is_said(tmp_path):
    run(ToyLanguageModel(), tmp_path / "one.jsonl", SAMPLED)
    run(ToyLanguageModel(), tmp_path / "few.jsonl", replace(SAMPLED, num_candidates=2))
    three = replace(SAMPLED, num_candidates=3)
    with pytest.raises(ValueError, match="one.jsonl has 0 samples of photo '.*', and generation.num_candidates=3"):
        take_candidates(tmp_path / "one.jsonl", tmp_path / "new.jsonl", three)
    with pytest.raises(ValueError, match="few.jsonl has 2 samples"):
        take_candidates(tmp_path / "few.jsonl", tmp_path / "new.jsonl", three)
    with pytest.raises(ValueError, match="name how many are chosen among"):
        take_candidates(tmp_path / "few.jsonl", tmp_path / "new.jsonl", GREEDY)
    assert not (tmp_path / "new.jsonl").exists()
    warmer = replace(SAMPLED, num_candidates=2, temperature=2.0)
    take_candidates(tmp_path / "few.jsonl", tmp_path / "new.jsonl", warmer)
    with pytest.raises(ValueError, match="its records were made with other settings: settings.temperature"):
        run(Silent(), tmp_path / "new.jsonl", warmer)

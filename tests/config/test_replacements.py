"""What is given to an evaluation stands in the place of what the checkpoint holds."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from diptych.config.folder import CONFIG_FOLDER
from diptych.config.replacements import replaced

SYSTEM = {"generator": {"settings": {"_target_": "a.B", "temperature": 0.7, "top_p": 0.9}}, "metrics": {"cider": {}}}
DATA = {"preparation": {"prompt": {"_target_": "p.P", "opening": "x", "instructions": {"task": "y", "ratio": "z"}}}}


def parts(**given):
    system, data, said = replaced(OmegaConf.create(SYSTEM), OmegaConf.create(DATA), given, ("metrics",))
    return OmegaConf.to_container(system), OmegaConf.to_container(data), said


def test_a_chosen_prompt_is_its_file_and_no_line_of_the_trained_one():
    chosen = OmegaConf.to_container(OmegaConf.load(CONFIG_FOLDER / "prompt/short.yaml"))
    _, data, said = parts(prompt=chosen)
    assert data["preparation"]["prompt"] == chosen == said["prompt"]


def test_single_keys_change_those():
    system, data, said = parts(generation={"temperature": 0.2, "num_candidates": 8}, prompt=None)
    assert system["generator"]["settings"] == {"_target_": "a.B", "temperature": 0.2, "top_p": 0.9, "num_candidates": 8}
    assert data == DATA and said == {"generation": {"temperature": 0.2, "num_candidates": 8}}


def test_metrics_are_replaced_as_a_whole_and_named():
    system, _, said = parts(metrics={"length": {"_target_": "m.L"}, "bleu": {}})
    assert list(system["metrics"]) == ["length", "bleu"] and said == {"metrics": ["bleu", "length"]}


def test_what_the_checkpoint_does_not_have_cannot_be_replaced():
    with pytest.raises(ValueError, match=r"evidence: this checkpoint has no data\.preparation\.selector to replace"):
        parts(evidence={"top_k": 3})

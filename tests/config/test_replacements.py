"""What is given to an evaluation stands in the place of what the checkpoint holds."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from diptych.config.folder import CONFIG_FOLDER
from diptych.config.replacements import replaced

SETTINGS = "diptych.systems.caption_generation.GenerationSettings"
SYSTEM = {"generator": {"settings": {"_target_": SETTINGS, "temperature": 0.7, "top_p": 0.9}}, "metrics": {"cider": {}}}
DATA = {"preparation": {"prompt": {"_target_": "p.P", "opening": "x", "instructions": {"task": "y", "ratio": "z"}}}}


def parts(**given):
    system, data, said, _ = replaced(OmegaConf.create(SYSTEM), OmegaConf.create(DATA), given)
    return OmegaConf.to_container(system), OmegaConf.to_container(data), said


def test_a_chosen_prompt_is_its_file_and_no_line_of_the_trained_one():
    chosen = OmegaConf.to_container(OmegaConf.load(CONFIG_FOLDER / "prompt/short.yaml"))
    _, data, said = parts(prompt=chosen)
    assert data["preparation"]["prompt"] == chosen == said["prompt"]


def test_single_keys_change_those():
    system, data, said = parts(generation={"temperature": 0.2, "num_candidates": 8}, prompt=None)
    assert system["generator"]["settings"] == {
        "_target_": SETTINGS,
        "temperature": 0.2,
        "top_p": 0.9,
        "num_candidates": 8,
    }
    assert data == DATA and said == {"generation": {"temperature": 0.2, "num_candidates": 8}}


def test_metrics_are_replaced_as_a_whole_and_named():
    system, _, said = parts(metrics={"length": {"_target_": "m.L"}, "bleu": {"_target_": "m.B"}})
    assert list(system["metrics"]) == ["length", "bleu"] and said == {"metrics": ["bleu", "length"]}


def test_single_keys_of_metrics_change_those_of_the_checkpoint():
    system, _, said = parts(metrics={"cider": {"local": False}})
    assert system["metrics"] == {"cider": {"local": False}} and said == {"metrics": {"cider": {"local": False}}}
    with pytest.raises(ValueError, match=r"metrics\.bleu: this checkpoint measures cider; metrics=\[bleu,\.\.\.\]"):
        parts(metrics={"bleu": {"local": False}})


def test_what_the_checkpoint_had_is_said():
    chosen = OmegaConf.to_container(OmegaConf.load(CONFIG_FOLDER / "prompt/short.yaml"))
    system = {"generator": {"settings": {"_target_": SETTINGS, "batch_size": "${size}"}}}
    given = {"prompt": chosen, "generation": {"min_p": 0.3, "batch_size": 2}, "metrics": None}
    found = replaced(OmegaConf.create(system), OmegaConf.create(DATA), given, size=7)
    assert found.origin() == {
        "replaced": {"prompt": chosen, "generation": {"min_p": 0.3, "batch_size": 2}},
        "replaced_from": {
            "prompt": DATA["preparation"]["prompt"],
            "generation": {"min_p": 0.1, "batch_size": 7},  # the class's default, and what the run had
        },
    }
    assert replaced(OmegaConf.create(system), OmegaConf.create(DATA), {"prompt": None}).origin() == {}


def test_what_the_checkpoint_does_not_have_cannot_be_replaced():
    with pytest.raises(ValueError, match=r"evidence: this checkpoint has no data\.preparation\.selector to replace"):
        parts(evidence={"top_k": 3})

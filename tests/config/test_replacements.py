"""What is given to an evaluation stands in the place of what the checkpoint holds."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from diptych.config.folder import CONFIG_FOLDER
from diptych.config.replacements import replaced

GREEDY = OmegaConf.to_container(OmegaConf.load(CONFIG_FOLDER / "system/generation/greedy.yaml"))
EVENT = OmegaConf.to_container(OmegaConf.load(CONFIG_FOLDER / "prompt/event.yaml"))
PAPER = OmegaConf.to_container(OmegaConf.load(CONFIG_FOLDER / "data/evidence/paper.yaml"), resolve=False)
SYSTEM = {"generator": {"settings": GREEDY}, "metrics": {"cider": {"_target_": "diptych.metrics.captions.cider.CIDEr"}}}
DATA = {"preparation": {"prompt": EVENT, "selector": PAPER}}


def parts(data=DATA, **given):
    system, data, said, _ = replaced(OmegaConf.create(SYSTEM), OmegaConf.create(data), given, data_dir="data")
    return OmegaConf.to_container(system), OmegaConf.to_container(data), said


def test_a_chosen_prompt_is_its_file_and_no_line_of_the_trained_one():
    chosen = OmegaConf.to_container(OmegaConf.load(CONFIG_FOLDER / "prompt/short.yaml"))
    _, data, said = parts(prompt=chosen)
    assert data["preparation"]["prompt"] == chosen == said["prompt"]


def test_single_keys_change_those():
    """Those that the checkpoint does not say, too: `temperature` of one that is greedy."""
    system, data, said = parts(generation={"temperature": 0.2, "num_candidates": 8}, prompt=None)
    assert system["generator"]["settings"] == {**GREEDY, "temperature": 0.2, "num_candidates": 8}
    assert data == DATA and said == {"generation": {"temperature": 0.2, "num_candidates": 8}}


def test_single_keys_deep_down_change_those():
    _, data, _ = parts(evidence={"encoder": {"encoder": {"batch_size": 2}}}, prompt={"instructions": {"ratio": None}})
    assert data["preparation"]["selector"]["encoder"]["encoder"]["batch_size"] == 2
    assert data["preparation"]["prompt"]["instructions"] == {**EVENT["instructions"], "ratio": None}


def test_rules_that_are_there_can_be_left_out():
    published = OmegaConf.to_container(OmegaConf.load(CONFIG_FOLDER / "data/evidence/published_code.yaml"))
    _, data, _ = parts({"preparation": {"selector": published}}, evidence={"published": None, "top_k": 1})
    assert data["preparation"]["selector"] == {**published, "published": None, "top_k": 1}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"evidence": {"published": {"topic": False}}},
            "evidence.published.topic: evidence.published has no keys in this checkpoint, there is none."
            " It is a section in evidence=published_code: choose that as well",
        ),
        ({"evidence": {"topk": 3}}, "unknown key 'evidence.topk'. Did you mean 'top_k'?"),
        ({"generation": {"temprature": 1}}, "unknown key 'generation.temprature'.* Did you mean 'temperature'?"),
        (
            {"prompt": {"instructions": {"ratoi": None}}},
            "unknown key 'prompt.instructions.ratoi'.* 'ratio'?",
        ),
        (
            {"evidence": {"encoder": {"encoder": {"nmae": "x"}}}},
            "unknown key 'evidence.encoder.encoder.nmae'.* 'name'?",
        ),
        ({"evidence": {"top_k": {"least": 3}}}, "evidence.top_k.least: evidence.top_k has no keys .*, it is 5[.]$"),
        ({"evidence": {"encoder": None}}, "evidence.encoder=None: it is a section; .*: evidence.encoder.encoder, "),
        ({"prompt": {"instructions": "short"}}, "prompt.instructions=short: it is a section; "),
    ],
)
def test_keys_that_the_checkpoint_does_not_have_are_named_with_what_to_do(given, message):
    with pytest.raises(ValueError, match=f"^{message.replace('?', '[?]')}"):
        parts(**given)


def test_metrics_are_replaced_as_a_whole_and_named():
    system, _, said = parts(metrics={"length": {"_target_": "m.L"}, "bleu": {"_target_": "m.B"}})
    assert list(system["metrics"]) == ["length", "bleu"] and said == {"metrics": ["bleu", "length"]}


def test_single_keys_of_metrics_change_those_of_the_checkpoint():
    system, _, said = parts(metrics={"cider": {"local": False}})
    assert system["metrics"] == {"cider": {**SYSTEM["metrics"]["cider"], "local": False}}
    assert said == {"metrics": {"cider": {"local": False}}}
    with pytest.raises(ValueError, match=r"metrics\.bleu: this checkpoint measures cider; metrics=\[bleu,\.\.\.\]"):
        parts(metrics={"bleu": {"local": False}})


def test_what_the_checkpoint_had_is_said():
    chosen = OmegaConf.to_container(OmegaConf.load(CONFIG_FOLDER / "prompt/short.yaml"))
    system = {"generator": {"settings": {**GREEDY, "batch_size": "${size}"}}}
    given = {"prompt": chosen, "generation": {"min_p": 0.3, "batch_size": 2}, "metrics": None}
    found = replaced(OmegaConf.create(system), OmegaConf.create(DATA), given, size=7, data_dir="data")
    assert found.origin() == {
        "replaced": {"prompt": chosen, "generation": {"min_p": 0.3, "batch_size": 2}},
        "replaced_from": {
            "prompt": DATA["preparation"]["prompt"],
            "generation": {"min_p": 0.1, "batch_size": 7},  # the class's default, and what the run had
        },
    }
    assert (
        replaced(OmegaConf.create(system), OmegaConf.create(DATA), {"prompt": None}, size=7, data_dir="data").origin()
        == {}
    )


def test_what_the_checkpoint_does_not_have_cannot_be_replaced():
    with pytest.raises(ValueError, match=r"evidence: this checkpoint has no data\.preparation\.selector to replace"):
        parts({"preparation": {}}, evidence={"top_k": 3})

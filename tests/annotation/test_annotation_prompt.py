import hydra
import pytest
from omegaconf import OmegaConf

from diptych.annotation.answers import ImageDescription, Modifications, parse
from diptych.annotation.image_mentions import image_mention
from diptych.annotation.prompt import AnnotationPrompt
from diptych.config.folder import CONFIG_FOLDER
from diptych.contracts.pipelines import Answer

SLOTS = {
    "describe_reference": {"max_objects", "domain"},
    "describe_target": {"max_objects", "domain", "reference"},
    "write_modifications": {"domain", "reference", "target"},
    "one_stage": {"domain"},
}


def shipped(name):
    return hydra.utils.instantiate(OmegaConf.load(CONFIG_FOLDER / "annotation" / "prompt" / f"{name}.yaml"))


@pytest.mark.parametrize("domain", ["hotel", "fashion", "general"])
@pytest.mark.parametrize("name", SLOTS)
def test_shipped_prompts_fill_their_slots(name, domain):
    prompt = shipped(name)
    assert prompt.slots == SLOTS[name]
    values = {"max_objects": 7, "domain": domain, "reference": "lamp: {brass}", "target": "lamp: {target}"}
    text = prompt.render(**{key: values[key] for key in SLOTS[name]})
    assert prompt.domains[domain] in text
    assert ("lamp: {brass}" in text) == ("reference" in SLOTS[name])
    assert "X objects" not in text
    assert image_mention(text) is None
    assert len(prompt.fingerprint) == 16


def test_the_examples_in_prompts_are_of_the_form_asked_for():
    for name in ("describe_reference", "describe_target"):
        assert parse(ImageDescription, Answer(shipped(name).text, "stop", {}, 0)).objects[0].name == "headboard"
    assert '{"sentences": [' in shipped("write_modifications").text
    assert set(Modifications.model_fields) == {"sentences"}


def test_values_are_not_filled_again_and_other_braces_stay():
    prompt = AnnotationPrompt('{"a": {target}} {reference}')
    assert prompt.render(reference="{target}", target="x") == '{"a": x} {target}'
    assert AnnotationPrompt("see {domain}").render(domain="gardens", max_objects=3) == "see gardens"


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"has the slot \{image\}"):
        AnnotationPrompt("see {image}")
    with pytest.raises(ValueError, match="is blank"):
        AnnotationPrompt(" ")
    with pytest.raises(ValueError, match="needs target"):
        AnnotationPrompt("{target}").render(domain="hotel")
    with pytest.raises(ValueError, match=r"no slot \{reference\}"):
        AnnotationPrompt("{target}").render(reference="x", target="y")
    with pytest.raises(ValueError, match="domain=cars is not one of hotel"):
        AnnotationPrompt("{domain}", {"hotel": "a room"}).render(domain="cars")


def test_the_fingerprint_stands_for_the_words():
    assert AnnotationPrompt("a").fingerprint == AnnotationPrompt("a ").fingerprint
    prompts = [AnnotationPrompt("a"), AnnotationPrompt("b"), AnnotationPrompt("a", {"x": "y"})]
    assert len({prompt.fingerprint for prompt in prompts}) == 3

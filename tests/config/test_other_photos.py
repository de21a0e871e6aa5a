"""A fuser's data with the photos of another set: the set's files, the fuser's prompts, and what was typed."""

from __future__ import annotations

from omegaconf import OmegaConf

from diptych.config.other_photos import with_other_photos

TRAINED = {
    "sources": {"newsroom": {"root": "a"}},
    "retrieval": "a/{split}.json",
    "evaluation_source": "retrieved",
    "preparation": {"prompt": {"words": 60}, "facts": {"_target_": "x"}, "max_prompt_tokens": 600},
    "row_length": 1280,
}
CHOSEN = {
    "root": None,
    "sources": {"own_captions": {"root": "${data_dir}/b"}},
    "retrieval": None,
    "evaluation_source": "annotated",
    "preparation": {"prompt": {"words": 300}, "facts": {"_target_": "y", "n": 1}, "max_prompt_tokens": 3072},
    "row_length": 12000,
    "cache": "c",
}


def made(*words):
    found = with_other_photos(OmegaConf.create(TRAINED), OmegaConf.create(CHOSEN), ["data=own_captions", *words])
    return OmegaConf.to_container(found, resolve=False)


def test_the_set_is_exchanged_and_the_prompts_stay():
    data = made()
    assert data["sources"] == CHOSEN["sources"] and data["retrieval"] is None and data["cache"] == "c"
    assert data["evaluation_source"] == "annotated"
    assert data["preparation"] == TRAINED["preparation"] and data["row_length"] == 1280


def test_what_is_typed_holds():
    words = ["data/facts@data.preparation.facts=none", "data.preparation.max_prompt_tokens=3072", "++data.row_length=1"]
    data = made(*words)
    assert data["preparation"] == {**CHOSEN["preparation"], "prompt": {"words": 60}}
    assert data["row_length"] == 12000  # as it was composed

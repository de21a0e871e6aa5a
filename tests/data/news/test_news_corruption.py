"""Articles and base captions that are made untrue: how many, in which facts, and that nothing happens without it."""

from __future__ import annotations

import re

import pytest

from diptych.data.news.corruption import NewsCorruption
from diptych.data.news.fusion_inputs import FusionInputs
from diptych.storage.json_files import read_json
from diptych.synthetic.newsroom import untruths
from diptych.synthetic.newsroom.source import Newsroom
from tiny_sets import TINY_NEWS, tiny_set


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return Newsroom(tiny_set("newsroom", tmp_path_factory.mktemp("data") / "newsroom"), TINY_NEWS)


@pytest.fixture(scope="module")
def inputs(source):
    def build(corruption=None):
        root = source.root
        files = str(root / "retrieval/{split}.json"), str(root / "base_captions.csv")
        return FusionInputs(source, *files, 0.5, 0, corruption)

    return build


def read(inputs, split="train"):
    reader = inputs.reader(split, "annotated")
    return {query.query_id: reader(query) for query in inputs.source.queries(split)}


@pytest.mark.parametrize("kind", [None, *Newsroom.untrue_article_kinds])
def test_facts_of_another_event_stand_where_the_article_says_its_own(source, inputs, kind):
    corrupted = inputs(NewsCorruption(evidence=1.0, evidence_kinds=None if kind is None else [kind]))
    true, told, events = read(inputs()), read(corrupted), read_json(source.root / "facts.json")["events"]
    entities = {event["article_id"]: event["entities"] for event in events}
    found = corrupted.untruths("train", "annotated")
    assert len(found) == len(true) == 8
    for one in found:
        before, after = true[one["query_id"]].article, told[one["query_id"]].article
        own = {name for names in entities[before.article_id].values() for name in names}
        assert one["part"] == "evidence" and one["kind"] == (kind or one["kind"]) and one["swaps"]
        for fact, said in one["swaps"].items():
            assert fact in before.text and said in after.text
            assert said not in own and any(fact in name for name in own)
            if one["kind"] != "numbers":  # which may be said of something else as well
                assert said not in before.text
                assert not re.search(rf"\b{fact}\b", after.text + after.title)


def test_a_sentence_with_a_swapped_fact_is_no_longer_what_the_caption_states(source, inputs):
    told = read(inputs(NewsCorruption(evidence=1.0, evidence_kinds=["numbers"])))
    for query_id, facts in source.facts("train").items():
        (date,) = (fact for fact in facts if fact.name == "when")
        assert date.sentence not in " ".join(told[query_id].article.text.split())
        (why,) = (fact for fact in facts if fact.name == "why")
        assert why.sentence in " ".join(told[query_id].article.text.split())


def test_only_facts_that_a_reference_states_count(source):
    stated = {query.query_id: query.reference_captions[0] for query in source.queries("train")}
    organisations = {
        event["query_id"]: event["organisation"] for event in read_json(source.root / "facts.json")["events"]
    }
    for query_id, facts in source.facts("train").items():
        names = {fact.name for fact in facts}
        assert {"what", "when", "who", "country", "why", "first_number"} <= names
        assert ("organisation" in names) == (organisations[query_id].lower() in stated[query_id].lower())


def test_a_third_of_what_can_be_seen_is_told_wrongly(source, inputs, monkeypatch):
    scenes = []
    monkeypatch.setattr(
        untruths,
        "base_caption",
        lambda scene, rng, write=untruths.base_caption: scenes.append(scene) or write(scene, rng),
    )
    events = {event["query_id"]: event for event in read_json(source.root / "facts.json")["events"]}
    found = inputs(NewsCorruption(base_captions=1.0)).untruths("train", "annotated")
    assert len(found) == len(scenes) == 8
    for one, scene in zip(found, scenes, strict=True):
        event = events[one["query_id"]]
        wrong = {name for name, value in scene.to_json().items() if value != event["scene"][name]}
        assert one["true_text"] == event["base_caption"] != one["text"]
        assert 1 <= len(wrong) <= 2 and wrong <= {"light", "colour", "count", "num_people"}


def test_the_share_is_exact_and_a_larger_one_holds_the_smaller(inputs):
    half, more = (
        inputs(NewsCorruption(evidence=share, base_captions=share)).untruths("train", "annotated")
        for share in (0.5, 0.75)
    )
    assert len(half) == 8 and len(more) == 12 and [one for one in more if one in half] == half
    assert inputs(NewsCorruption(evidence=0.5, seed=1)).untruths("train", "annotated") != half


def test_kinds_that_need_no_facts(inputs):
    settings = {"evidence_kinds": ["another_article"], "base_caption_kinds": ["another_photo", "none"]}
    corrupted, true = inputs(NewsCorruption(1.0, 1.0, **settings)), read(inputs())
    captions = {item.base_caption for item in true.values()}
    for query_id, item in read(corrupted).items():
        assert item.article.article_id != true[query_id].article.article_id
        assert item.base_caption != true[query_id].base_caption and item.base_caption in {"", *captions}


def test_nothing_happens_on_other_splits_or_at_a_share_of_nothing(inputs):
    plain = inputs()
    for split, corruption in (("train", NewsCorruption()), ("val", NewsCorruption(1.0, 1.0))):
        other = inputs(corruption)
        assert other.settings(split, "annotated") == plain.settings(split, "annotated")
        assert read(other, split) == read(plain, split) and other.untruths(split, "annotated") == []
    evaluated = inputs(NewsCorruption(1.0, splits=["val"]))
    assert evaluated.settings("val", "annotated") != plain.settings("val", "annotated")
    assert read(evaluated, "val") != read(plain, "val")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"evidence": 2}, r"data\.corruption\.evidence=2 must be between 0 and 1"),
        ({"evidence_kinds": []}, r"data\.corruption\.evidence_kinds is empty"),
        ({"splits": ["all"]}, r"data\.corruption\.splits=\['all'\] must name some of"),
        ({"evidence": 1, "evidence_kinds": ["titles"]}, r"evidence_kinds names 'titles'; newsroom knows names, places"),
    ],
)
def test_settings_that_cannot_be_are_refused(inputs, settings, message):
    with pytest.raises(ValueError, match=message):
        inputs(NewsCorruption(**settings)).untruths("train", "annotated")

from dataclasses import dataclass

import pytest

from diptych.data.news.evidence import EvidenceSelector
from diptych.data.news.fusion_preparation import FusionPreparation
from diptych.data.news.key_facts import NoFacts
from diptych.data.news.prompt import PromptTemplate
from diptych.data.news.published_evidence import PublishedRules
from diptych.models.fuser.chat_tokenizer import ChatTokenizer
from diptych.models.sentence_encoder import SentenceTransformerEncoder
from diptych.storage.key import key_of
from diptych.storage.settings_key import settings_of


def preparation(**changes):
    words = changes.pop("words", 60)
    encoder = SentenceTransformerEncoder("some/model", batch_size=changes.pop("batch_size", 64))
    prompt = PromptTemplate("Write.", "Photo:", "Article:", words, {"a": "In {words} words.", "b": None}, None, "Go:")
    selector = EvidenceSelector(
        encoder, **{key: changes.pop(key) for key in ("stride", "top_k", "published") if key in changes}
    )
    arguments = {"tokenizer": ChatTokenizer("m"), "facts": NoFacts(), "max_prompt_tokens": 100, **changes}
    return FusionPreparation(prompt=prompt, selector=selector, **arguments)


def test_everything_that_decides_a_prompt_is_in_the_key():
    usual = key_of(settings_of(preparation()))
    assert usual == key_of(settings_of(preparation())) and len(usual) == 16
    for changes in (
        {"stride": 2},
        {"top_k": 4},
        {"published": PublishedRules()},
        {"words": 61},
        {"max_prompt_tokens": 101},
        {"whole_article": True},
        {"tokenizer": ChatTokenizer("m", "on")},
        {"tokenizer": ChatTokenizer("n")},
    ):
        assert key_of(settings_of(preparation(**changes))) != usual, changes


def test_published_rules_are_keyed_by_each_of_their_numbers():
    rules = [
        PublishedRules(),
        PublishedRules(whole_article=0),
        PublishedRules(topic=False),
        PublishedRules(key_terms=4),
    ]
    assert len({key_of(settings_of(preparation(published=each))) for each in rules}) == len(rules)


def test_a_setting_of_a_later_version_leaves_keys_alone_at_its_default():
    """The key that version 4.0 gave to these settings, whose caches lie on disks."""
    assert key_of(settings_of(preparation())) == key_of(settings_of(preparation(published=None))) == "e91a28c4c8193185"


def test_what_only_costs_time_is_not():
    assert key_of(settings_of(preparation(batch_size=8))) == key_of(settings_of(preparation()))


def test_plain_data_and_dataclasses_are_taken_as_they_are():
    @dataclass
    class Point:
        x: int

    assert settings_of({"a": (1, None, 2.5), "b": Point(3)}) == {"a": [1, None, 2.5], "b": {"x": 3}}


def test_a_part_that_hides_an_argument_is_refused():
    class Part:
        def __init__(self, hidden: int) -> None:
            pass

    Part.__module__ = "diptych.example"
    with pytest.raises(ValueError, match="Part does not keep its argument 'hidden'"):
        settings_of(Part(1))
    with pytest.raises(ValueError, match="has no settings"):
        settings_of(object())


def test_a_part_of_a_users_own_is_known_by_its_full_path():
    class Part:
        def __init__(self, size: int) -> None:
            self.size = size

    Part.__module__, Part.__qualname__ = "mine.parts", "Part"
    assert settings_of(Part(3)) == {"class": "mine.parts.Part", "size": 3}
    Part.__module__ = "diptych.example"
    assert settings_of(Part(3)) == {"class": "Part", "size": 3}

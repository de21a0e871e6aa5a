import re
from statistics import pstdev

import numpy as np
import pytest

from diptych.synthetic.newsroom.captions import STYLES, reference_captions
from diptych.synthetic.newsroom.casting import sample_events
from diptych.synthetic.newsroom.scene import base_caption, sample_scene
from diptych.synthetic.newsroom.writing import FACTS, MAX_SENTENCES, MIN_SENTENCES, write_article


@pytest.fixture(scope="module")
def events():
    return sample_events(0, {"train": 24, "val": 12, "test": 12})


@pytest.fixture(scope="module")
def articles(events):
    written = []
    for event in events:
        earlier = [events[i] for i in event.shares_town_with if events[i].day < event.day]
        written.append((event, earlier, write_article(event, earlier, np.random.default_rng(event.number))))
    return written


def _surfaces(event):
    """What the sentence with a fact must hold; one of several wordings."""
    first, second = (quantity.clauses for quantity in event.quantities[:2])
    return {
        "what": [event.town.name],
        "when": [event.date_text],
        "country": [event.town.country.name],
        "who": [f"{event.main.name}, {event.main.role},"],
        "second": [f"said {event.second.name}, {event.second.role}"],
        "organisation": [event.organisation[1:]],
        "first_number": [clause[1:] for clause in first],
        "second_number": [clause[1:] for clause in second],
        "why": [event.reason],
    }


def test_every_fact_stands_in_the_sentence_that_is_named(articles):
    for event, _, article in articles:
        assert set(article.fact_sentences) == set(FACTS)
        for fact, wordings in _surfaces(event).items():
            text = article.sentences[article.fact_sentences[fact]]
            assert any(wording in text for wording in wordings), (fact, text)


def test_lengths_are_in_range_and_spread(articles):
    lengths = [len(article.sentences) for _, _, article in articles]
    assert min(lengths) >= MIN_SENTENCES and max(lengths) <= MAX_SENTENCES
    assert min(lengths) < 14 and max(lengths) > 48
    for _, _, article in articles:
        assert len(set(article.sentences)) == len(article.sentences)


def test_facts_are_not_always_at_the_same_place(articles):
    for fact in FACTS:
        places = [article.fact_sentences[fact] / len(article.sentences) for _, _, article in articles]
        assert pstdev(places) > 0.1, fact


def test_lead_paragraphs_alone_do_not_hold_the_facts(articles):
    """What the first five sentences lack has to be found further down: most articles need that."""
    missing = [sum(place >= 5 for place in article.fact_sentences.values()) for _, _, article in articles]
    assert np.mean(missing) > 3


def test_full_name_comes_before_family_name(articles):
    for event, _, article in articles:
        for person in (event.main, event.second, event.witness):
            positions = [i for i, text in enumerate(article.sentences) if re.search(rf"\b{person.last_name}\b", text)]
            if positions:
                assert person.name in article.sentences[positions[0]]


def test_an_earlier_event_of_the_town_is_mentioned_with_its_own_facts(articles):
    mentioned = 0
    for event, earlier, article in articles:
        for other in earlier:
            found = [text for text in article.sentences if other.main.name in text]
            mentioned += len(found)
            assert all(other.day.strftime("%B %Y") in text and event.date_text not in text for text in found)
    assert mentioned > 10


def test_texts_are_finished(articles):
    for event, _, article in articles:
        scene = sample_scene(event, np.random.default_rng(event.number))
        rng = np.random.default_rng(0)
        captions = reference_captions(event, scene, rng)
        for text in (*article.sentences, *captions.values(), base_caption(scene, rng)):
            assert not re.search(r"[\[\]{}|]|  |\.\.|,\.|\ba [aeio]", text), text
            assert text[0] == text[0].upper() and text.endswith((".", '."')), text
        assert "\n\n" in article.content and not article.title.endswith(".")


def test_same_random_numbers_same_texts(events):
    one, other = (write_article(events[5], [], np.random.default_rng(3)) for _ in range(2))
    assert one == other
    assert write_article(events[5], [], np.random.default_rng(4)) != one


def test_reference_captions_tell_all_facts_in_every_style(events):
    for event in events:
        rng = np.random.default_rng(event.number)
        captions = reference_captions(event, sample_scene(event, rng), rng)
        assert set(captions) == set(STYLES)
        for style, text in captions.items():
            facts = (event.town.name, event.town.country.name, event.date_text, event.main.name, event.main.role)
            assert all(fact in text for fact in (*facts, event.reason, event.quantities[0].text)), (style, text)
            assert 35 <= len(text.split()) <= 100
    assert len({tuple(reference_captions(events[0], sample_scene(events[0], r), r)) for r in _generators(12)}) > 3


def _generators(count):
    return [np.random.default_rng(seed) for seed in range(count)]


def test_base_captions_hold_nothing_but_what_is_visible(events):
    for event in events:
        rng = np.random.default_rng(event.number)
        text = base_caption(sample_scene(event, rng), rng)
        entities = [name for names in event.entities().values() for name in names]
        assert not any(name in text for name in entities)
        assert not re.search(r"\d", text)
        assert 15 <= len(text.split()) <= 50


def test_base_caption_says_the_colour_and_the_number_of_the_scene(events):
    for event in events:
        rng = np.random.default_rng(event.number)
        scene = sample_scene(event, rng)
        text = base_caption(scene, rng).lower()
        assert scene.colour in text
        assert not re.search(r"\bone (\w+ )?(cranes|dockside cranes|boats|dinghies|tents|fire engines)\b", text), text

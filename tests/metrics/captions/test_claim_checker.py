"""The checker that chooses among candidates counts what the metric counts."""

from __future__ import annotations

import pytest

from diptych.contracts.news import CaptionItem, ClaimChecker
from diptych.metrics.captions.claim_checker import EntityClaimChecker
from diptych.metrics.captions.unsupported_entity_rate import UnsupportedEntityRate
from diptych.text.named_entities import NamedEntity

CAPTIONS = ["Ann Lee met Bo in Rome", "12 people", "nobody", "Ann Lee and Ann Lee"]
EVIDENCE = ["Ann Lee came to Rome.", "About 11 people came.", "", "Bo came."]
NAMES = ("Ann Lee", "Bo", "Rome")


class Names:
    model = "listed names"

    def entities(self, texts):
        return [
            tuple(
                NamedEntity(name, "PERSON", start, start + len(name))
                for name in NAMES
                for start in range(len(text))
                if text.startswith(name, start)
            )
            for text in texts
        ]


def test_counts_are_those_of_the_metric():
    checker = EntityClaimChecker(Names())
    assert isinstance(checker, ClaimChecker) and checker.name == "listed names"
    counts = checker.unsupported(CAPTIONS, EVIDENCE)
    assert counts == [(1, 3), (1, 1), (0, 0), (2, 2)]
    metric = UnsupportedEntityRate(Names())
    items = [
        CaptionItem(f"q{number}", *parts)
        for number, parts in enumerate((caption, (), text) for caption, text in zip(CAPTIONS, EVIDENCE, strict=True))
    ]
    scores = metric.score(items)
    assert scores.corpus["unsupported_entity_rate"] == pytest.approx(4 / 6)
    assert scores.corpus["claims_per_caption"] == pytest.approx(6 / 4)
    with pytest.raises(ValueError):
        checker.unsupported(CAPTIONS, EVIDENCE[:2])


def test_claims_of_one_caption_are_those_that_are_counted():
    checker = EntityClaimChecker(Names())
    for caption, evidence, (unsupported, number) in zip(
        CAPTIONS, EVIDENCE, checker.unsupported(CAPTIONS, EVIDENCE), strict=True
    ):
        found = checker.checked_claims(caption, evidence)
        assert len(found) == number and sum(not claim.supported for claim in found) == unsupported
        assert all(caption[claim.start : claim.end] == claim.text for claim in found)
    names = [(claim.text, claim.supported) for claim in checker.checked_claims(CAPTIONS[0], EVIDENCE[0])]
    assert names == [("Ann Lee", True), ("Bo", False), ("Rome", True)]
    (number,) = checker.checked_claims("12 people", "About 11 people came.")
    assert number.is_quantity and not number.supported

"""Hallucination: names, dates and numbers of a caption that the text it was written from does not state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diptych.contracts.news import CaptionItem
from diptych.contracts.retrieval import Better, Unit
from diptych.metrics.captions.caption_metric import CaptionMetric
from diptych.metrics.captions.caption_scores import CaptionScores
from diptych.metrics.captions.entity_matching import Claim, Evidence, claims
from diptych.metrics.captions.item_checks import require_evidence
from diptych.text.named_entities import EntityRecognizer, NamedEntity


def unsupported_entity_rate(
    captions: Sequence[str], entities: Sequence[Sequence[NamedEntity]], evidence_texts: Sequence[str]
) -> tuple[float, np.ndarray, np.ndarray]:
    """The share of all claims that the evidence does not state; the same of each item (N,), and its claims (N,).

    Claims are the entities found in a caption and its other numbers in digits; every mention counts. The corpus' rate
    is unsupported over all claims, not a mean. NaN where there is no claim.

    Raises:
        ValueError: there is nothing to score, or the numbers of items differ.
    """
    if not len(captions) or not len(captions) == len(entities) == len(evidence_texts):
        lengths = f"{len(captions)}, {len(entities)} and {len(evidence_texts)}"
        raise ValueError(f"captions, their entities and evidence must be there and equally many: {lengths}")
    triples = zip(captions, entities, evidence_texts, strict=True)
    stated = [[found for _, found in check_claims(*of_item)] for of_item in triples]
    number = np.array([len(of_item) for of_item in stated])
    wrong = np.array([of_item.count(False) for of_item in stated], dtype=float)
    per_item = np.divide(wrong, number, out=np.full(len(number), np.nan), where=number > 0)
    return float(wrong.sum() / number.sum()) if number.any() else float("nan"), per_item, number


def check_claims(caption: str, entities: Sequence[NamedEntity], evidence_text: str) -> list[tuple[Claim, bool]]:
    """The claims of a caption in their order, each with whether the evidence states it."""
    evidence = Evidence(evidence_text)
    return [(claim, evidence.states(claim)) for claim in claims(caption, entities)]


class UnsupportedEntityRate(CaptionMetric):
    """`unsupported_entity_rate` over all captions of all processes, and `claims_per_caption`: who names nothing,
    invents nothing.
    """

    def __init__(self, recognizer: EntityRecognizer, local: bool = True) -> None:
        super().__init__(local)
        self.recognizer = recognizer

    def score(self, items: Sequence[CaptionItem]) -> CaptionScores:
        """The corpus' values and those of the items.

        Raises:
            ValueError: items have no evidence text, which are listed, or as the recogniser.
        """
        require_evidence(items, "unsupported_entity_rate")
        captions = [item.caption for item in items]
        evidence_texts = [item.evidence_text or "" for item in items]
        rate, per_item, number = unsupported_entity_rate(captions, self.recognizer.entities(captions), evidence_texts)
        corpus = {"unsupported_entity_rate": rate, "claims_per_caption": float(number.mean())}
        about: dict[str, tuple[Unit, Better | None]] = {
            "unsupported_entity_rate": ("fraction", "lower"),
            "claims_per_caption": ("count", None),
        }
        per_item_of = {"unsupported_entity_rate": per_item}
        return CaptionScores(corpus, per_item_of, model=self.recognizer.model, about=about)

    def claims(self, items: Sequence[CaptionItem]) -> list[list[tuple[Claim, bool]]]:
        """The claims of each caption in their order, each with whether the item's evidence states it. An item without
        evidence text has none that are stated.

        Raises:
            ValueError: as the recogniser.
        """
        entities = self.recognizer.entities([item.caption for item in items])
        return [
            check_claims(item.caption, found, item.evidence_text or "")
            for item, found in zip(items, entities, strict=True)
        ]

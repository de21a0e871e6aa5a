"""Which of the references' names, dates and numbers a caption holds, and which of its own the references hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diptych.contracts.news import CaptionItem
from diptych.contracts.retrieval import Better, Unit
from diptych.metrics.captions.caption_metric import CaptionMetric
from diptych.metrics.captions.caption_scores import CaptionScores
from diptych.metrics.captions.entity_matching import key
from diptych.metrics.captions.item_checks import require_references
from diptych.text.named_entities import EntityRecognizer, NamedEntity


def entities(
    predicted: Sequence[Sequence[NamedEntity]], reference: Sequence[Sequence[NamedEntity]]
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """`entity_precision`, `entity_recall` and `entity_f1` of the corpus, and of each item (N,).

    `reference` holds the entities of all references of an item. Each distinct entity counts once an item, however
    often and in however many references it stands; `entity_matching` says which are equal. The corpus' values are
    those of the counts summed over the items, not means. NaN where there is nothing to divide by: the precision of
    captions without entities, the recall of references without, F1 of neither.

    Raises:
        ValueError: there is nothing to score, or the numbers of items differ.
    """
    if not len(predicted) or len(predicted) != len(reference):
        raise ValueError(f"entities of {len(predicted)} captions and references of {len(reference)}; give one each")
    sides = zip(map(_keys, predicted), map(_keys, reference), strict=True)
    counts = np.array([(len(left & right), len(left), len(right)) for left, right in sides], dtype=float)
    return {name: float(value) for name, value in _ratios(counts.sum(0)).items()}, _ratios(counts.T)


def _keys(found: Sequence[NamedEntity]) -> set[tuple[str, ...]]:
    return set(map(key, found)) - {()}


def _ratios(counts: np.ndarray) -> dict[str, np.ndarray]:
    shared, in_prediction, in_reference = counts
    return {
        "entity_precision": _divide(shared, in_prediction),
        "entity_recall": _divide(shared, in_reference),
        "entity_f1": _divide(2 * shared, in_prediction + in_reference),
    }


def _divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    ratio: np.ndarray = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
    return ratio


class Entities(CaptionMetric):
    """`entities` over all captions of all processes, as the recogniser finds them."""

    def __init__(self, recognizer: EntityRecognizer, local: bool = True) -> None:
        super().__init__(local)
        self.recognizer = recognizer

    def score(self, items: Sequence[CaptionItem]) -> CaptionScores:
        """The corpus' values and those of the items.

        Raises:
            ValueError: items have no reference, which are listed, or as the recogniser.
        """
        require_references(items, "entities")
        captions = [item.caption for item in items]
        references = [text for item in items for text in item.reference_captions]
        found = iter(self.recognizer.entities([*captions, *references]))
        predicted = [next(found) for _ in items]
        of_references = [[entity for _ in item.reference_captions for entity in next(found)] for item in items]
        corpus, per_item = entities(predicted, of_references)
        about: dict[str, tuple[Unit, Better | None]] = dict.fromkeys(corpus, ("fraction", "higher"))
        return CaptionScores(corpus, per_item, model=self.recognizer.model, about=about)

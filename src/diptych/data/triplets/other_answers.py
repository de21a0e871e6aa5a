"""Which images answer a query beside its target, as far as the triplets of a source say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from diptych.contracts.retrieval import Triplet


def other_answers(triplets: Iterable[Triplet]) -> dict[str, set[str]]:
    """The images, other than target and reference, that answer a query, by its id: those that its record lists, and the
    targets of triplets that say the same of the same reference. Queries that have none are absent.
    """
    triplets = list(triplets)
    told: dict[tuple[str, str], set[str]] = defaultdict(set)  # by reference and text
    for triplet in triplets:
        for text in triplet.modification_texts:
            told[triplet.reference_image, text].add(triplet.target_image)
    answers: dict[str, set[str]] = defaultdict(set)
    for triplet in triplets:
        known = set(triplet.relevant_ids)
        known.update(*(told[triplet.reference_image, text] for text in triplet.modification_texts))
        answers[triplet.query_id] |= known - {triplet.reference_image, triplet.target_image}
    return {query_id: known for query_id, known in answers.items() if known}

"""How much of what captions should say their writer could know: what the chosen evidence holds of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diptych.contracts import news
from diptych.contracts.retrieval import Better, Unit
from diptych.metrics.captions.entity_matching import Claim, Evidence

THIRDS = ("third_1", "third_2", "third_3")  # of an article
ABOUT: dict[str, tuple[Unit, Better]] = dict.fromkeys(
    ("evidence_recall", "article_recall", "fact_recall"), ("fraction", "higher")
)


def claim_recall(
    name: str, claims: Sequence[Sequence[Claim]], texts: Sequence[str]
) -> tuple[dict[str, float], np.ndarray]:
    """The share of the claims of each item's references that a text states: `name` of all, `name/names` and
    `name/numbers` (dates among them); and the same of each item (N,).

    Each distinct claim counts once an item, however often and in however many references it stands. A text states it as
    `entity_matching` says: a name word for word, a number or date with all its words. The values are those of the
    counts summed over the items, not means. NaN where there is no such claim.

    Raises:
        ValueError: there is nothing to score, or the numbers of items differ.
    """
    if not len(claims) or len(claims) != len(texts):
        raise ValueError(f"{name}: claims of {len(claims)} items and texts of {len(texts)}; give one each")
    stated, number = np.zeros((len(claims), 2)), np.zeros((len(claims), 2))  # (N, names and numbers)
    for item, (of_item, text) in enumerate(zip(claims, texts, strict=True)):
        evidence = Evidence(text)
        for claim in distinct(of_item):
            number[item, int(claim.is_quantity)] += 1
            stated[item, int(claim.is_quantity)] += evidence.states(claim)
    names, numbers = _divide(stated.sum(0), number.sum(0))
    corpus = {name: float(_divide(stated.sum(), number.sum())), f"{name}/names": names, f"{name}/numbers": numbers}
    return {key: float(value) for key, value in corpus.items()}, _divide(stated.sum(1), number.sum(1))


def distinct(claims: Sequence[Claim]) -> list[Claim]:
    """The claims without those that say the same as an earlier one."""
    return list({claim.key: claim for claim in reversed(claims)}.values())[::-1]


def fact_recall(
    facts: Sequence[Sequence[news.ArticleFact]], evidence: Sequence[news.Evidence]
) -> tuple[dict[str, float], np.ndarray]:
    """The share of each item's facts whose sentence the evidence holds whole: `fact_recall` of all, and of those that
    begin in each third of their article (`fact_recall/third_1`, ...); and the same of each item (N,).

    Evidence from another article holds none, and a sentence that says something else now is not held. What titles and
    lists of key facts say does not count. NaN where there are no facts.

    Raises:
        ValueError: there is nothing to score, or the numbers of items differ.
    """
    if not len(facts) or len(facts) != len(evidence):
        raise ValueError(f"fact_recall: facts of {len(facts)} items and evidence of {len(evidence)}; give one each")
    held, number = np.zeros((len(facts), len(THIRDS))), np.zeros((len(facts), len(THIRDS)))
    for item, (of_item, chosen) in enumerate(zip(facts, evidence, strict=True)):
        for fact in of_item:
            number[item, third(fact)] += 1
            held[item, third(fact)] += fact.article_id == chosen.article_id and fact.sentence in chosen.text
    shares = dict(zip(THIRDS, _divide(held.sum(0), number.sum(0)), strict=True))
    corpus = {"fact_recall": float(_divide(held.sum(), number.sum()))}
    corpus |= {f"fact_recall/{part}": float(share) for part, share in shares.items()}
    return corpus, _divide(held.sum(1), number.sum(1))


def third(fact: news.ArticleFact) -> int:
    """In which of the `THIRDS` of its article the fact begins."""
    return min(int(3 * fact.position), 2)


def _divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    ratio: np.ndarray = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)
    return ratio
